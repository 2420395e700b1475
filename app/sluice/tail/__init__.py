"""Live tail: events as they are committed, over Server-Sent Events. No tail holds a thread: one reads, one writes, for all."""
