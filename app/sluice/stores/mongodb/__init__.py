"""The MongoDB store (STORAGE_TYPE=mongodb, extra `mongodb`): one document an event, known by its `_id`."""
