-- Retention finds the users of the error groups that it removes. While the index is built errors are stored, and counted afterwards.
-- depends: 0005.group-errors
CREATE INDEX IF NOT EXISTS error_users_fingerprint ON sluice.error_users (fingerprint);
