-- Pull sources: what is known of each, its records, and its runs.
-- depends: 0004.add-digest

-- `run_id` and `lease_until` are the lease: who holds it is that run, until then by this server's clock.
CREATE TABLE IF NOT EXISTS sluice.sources (
    name text COLLATE "C" PRIMARY KEY,
    url text NOT NULL,
    schedule text NOT NULL,
    definition bytea NOT NULL,
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    run_id bigint,
    lease_until timestamptz,
    next_run_at timestamptz,
    requested_at timestamptz,
    last_attempt timestamptz,
    last_success timestamptz,
    records integer NOT NULL DEFAULT 0,
    etag text,
    last_modified text
);

-- `place`: the order in which records came first, which pages walk in. `version` counts the contents that a record has had.
CREATE TABLE IF NOT EXISTS sluice.source_records (
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    digest bytea NOT NULL,
    content jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ingested_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS source_records_place ON sluice.source_records (source, place);

CREATE TABLE IF NOT EXISTS sluice.source_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    status text NOT NULL DEFAULT 'running',
    reason text,
    error_message text,
    not_modified boolean NOT NULL DEFAULT false,
    pages integer NOT NULL DEFAULT 0,
    created integer NOT NULL DEFAULT 0,
    updated integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    invalid integer NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS source_runs_source ON sluice.source_runs (source, id);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON sluice.sources, sluice.source_records, sluice.source_runs TO sluice_app;
    END IF;
END
$$;
