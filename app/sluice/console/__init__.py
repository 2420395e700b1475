"""Pages for people. Each asks the API's own views, in this process, with the rights of its key."""
