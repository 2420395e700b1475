-- Serving does without, but for a database whose changes somebody publishes (logical replication, change data capture, blue/green
-- upgrades): there no row may go from a table without a key, and no error would be counted, no erasure finished.
-- depends: 0005.group-errors
-- serving does not wait for this
ALTER TABLE sluice.error_deltas REPLICA IDENTITY FULL;
