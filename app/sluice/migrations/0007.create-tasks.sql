-- Follow-up tasks, optionally tied to an event or an error group by its name: neither is a foreign key, for events go by retention
-- and tasks stay.
-- depends: 0004.add-digest

-- `id`: the order in which tasks came, which pages walk in. `version` counts changes. `request`: the SHA-256 of what was asked with
-- the Idempotency-Key that made `task_id`.
CREATE TABLE IF NOT EXISTS sluice.tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id uuid NOT NULL UNIQUE,
    title text NOT NULL,
    priority text NOT NULL,
    due_at timestamptz,
    event_id text COLLATE "C",
    fingerprint text COLLATE "C",
    key_id text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    request bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE INDEX IF NOT EXISTS tasks_pending ON sluice.tasks (id) WHERE completed_at IS NULL;
CREATE INDEX IF NOT EXISTS tasks_event_id ON sluice.tasks (event_id, id) WHERE event_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_fingerprint ON sluice.tasks (fingerprint, id) WHERE fingerprint IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON sluice.tasks TO sluice_app;
    END IF;
END
$$;
