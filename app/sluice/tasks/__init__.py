"""Follow-up tasks by seed 002's contract, persisted; optionally tied to an event or an error group."""
