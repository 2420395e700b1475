-- Error groups, and the record of erasures. The statement that stores errors appends what it stored of each fingerprint to error_deltas,
-- in the same commit. The service folds those rows into the groups afterwards, so no batch waits for a group that another one counts.
-- depends: 0004.add-digest

CREATE TABLE IF NOT EXISTS sluice.error_deltas (
    fingerprint text COLLATE "C" NOT NULL,
    service text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    events bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    users text[] COLLATE "C",
    stored_at timestamptz NOT NULL DEFAULT now()
);
-- Rows stay for seconds: what they leave behind is vacuumed by number, not by the share of a table that is nearly empty.
ALTER TABLE sluice.error_deltas SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE IF NOT EXISTS sluice.error_groups (
    fingerprint text COLLATE "C" PRIMARY KEY,
    id bigint GENERATED ALWAYS AS IDENTITY,
    status text NOT NULL DEFAULT 'unresolved' CHECK (status IN ('unresolved', 'resolved', 'ignored')),
    events bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    services text[] COLLATE "C" NOT NULL,
    more_services boolean NOT NULL,
    users integer NOT NULL,
    more_users boolean NOT NULL,
    changed_at timestamptz,
    changed_by text,
    regressed_at timestamptz
);
CREATE INDEX IF NOT EXISTS error_groups_last_seen_id ON sluice.error_groups (last_seen, id);

CREATE TABLE IF NOT EXISTS sluice.error_hours (
    fingerprint text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (fingerprint, hour)
);
CREATE INDEX IF NOT EXISTS error_hours_hour ON sluice.error_hours (hour);

-- The user first: an erasure looks for one of them.
CREATE TABLE IF NOT EXISTS sluice.error_users (
    user_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, fingerprint)
);

-- Counters that a killed process must not take along.
CREATE TABLE IF NOT EXISTS sluice.error_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    regressions bigint NOT NULL DEFAULT 0
);
INSERT INTO sluice.error_totals DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Who had events erased, and how many went; not whose they were.
CREATE TABLE IF NOT EXISTS sluice.erasures (
    id text COLLATE "C" PRIMARY KEY,
    key_id text NOT NULL,
    request_id text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    events bigint NOT NULL DEFAULT 0
);

-- The release before stores errors without counting them. Its fingerprints begin with 1, this release's with 2: what pods of it store
-- during a rollout, or after a rollback, is counted here. (Contract step, two releases on: drop trigger and function.)
CREATE OR REPLACE FUNCTION sluice.count_error() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sluice.error_deltas (fingerprint, service, hour, events, first_seen, last_seen, users)
    VALUES (
        NEW.fingerprint, coalesce(NEW.source, ''), date_trunc('hour', NEW."timestamp", 'UTC'), 1, NEW."timestamp", NEW."timestamp",
        CASE WHEN NEW.user_id IS NOT NULL THEN ARRAY[NEW.user_id] END
    );
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER count_error AFTER INSERT ON sluice.events
FOR EACH ROW WHEN (NEW.fingerprint LIKE '1:%') EXECUTE FUNCTION sluice.count_error();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON sluice.error_deltas, sluice.error_groups, sluice.error_hours, sluice.error_users TO sluice_app;
        GRANT SELECT, UPDATE ON sluice.error_totals TO sluice_app;
        GRANT SELECT, INSERT, UPDATE ON sluice.erasures TO sluice_app;
    END IF;
END
$$;
