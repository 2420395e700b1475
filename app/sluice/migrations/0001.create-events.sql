-- Events, the answers kept for Idempotency-Key, and the key that signs cursors.
-- Every statement may run twice: the mark that a migration is applied is a commit of its own.

-- A commit takes one step of the sequence and gives its rows ids in the order of the request: one nextval per commit, not per row.
CREATE SEQUENCE IF NOT EXISTS sluice.events_id_seq INCREMENT BY 10000 MINVALUE 10000;

CREATE TABLE IF NOT EXISTS sluice.events (
    event_id text COLLATE "C" PRIMARY KEY,
    id bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    event_type text NOT NULL,
    event_name text NOT NULL,
    properties jsonb NOT NULL,
    device_info jsonb NOT NULL,
    user_id text,
    session_id text,
    app_version text,
    source text,
    sequence_number bigint,
    priority text NOT NULL,
    key_id text NOT NULL,
    fingerprint text,
    content bytea NOT NULL,
    created_at timestamptz NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now()
);

-- Few indexes: each costs an insert more than Python does. These two serve the two time orders that pages walk in.
CREATE INDEX IF NOT EXISTS events_timestamp_id ON sluice.events ("timestamp", id);
CREATE INDEX IF NOT EXISTS events_created_at_id ON sluice.events (created_at, id);

-- A table that only grows is vacuumed for its visibility map (index-only counts), in steps that do not grow with it.
ALTER TABLE sluice.events SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE TABLE IF NOT EXISTS sluice.idempotency_keys (
    key_id text NOT NULL,
    idempotency_key text NOT NULL,
    request bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at ON sluice.idempotency_keys (created_at);

-- In the database, so that every process on it accepts any other's cursor, also after a restart.
CREATE TABLE IF NOT EXISTS sluice.cursor_secret (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    secret bytea NOT NULL CHECK (length(secret) = 32)
);
INSERT INTO sluice.cursor_secret (secret)
VALUES (sha256((gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text)::bytea))
ON CONFLICT DO NOTHING;
