"""Error groups: events of type error that have one fingerprint are one error, with its count, its times and its state.

The store counts in the commit of the events (statements.INSERT_ERRORS). `fold` adds that up into groups, in the background and
before each read; `store` reads them and changes their state; `routes` serves that.
"""
