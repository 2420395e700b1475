"""From bytes on the wire to events. Nothing here knows the web framework or the store."""
