-- After every `sluice migrate`: the service's role, which a dump that was restored into another server brings no more than its
-- rights. One that has some rights keeps just these, for what an administrator took away stays away. A managed database may not let
-- this user make roles: that stops no migration, and the service then logs in as whoever DATABASE_URL names.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        CREATE ROLE sluice_app LOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE WARNING 'no right to create role sluice_app: the service uses this login';
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app')
        OR has_schema_privilege('sluice_app', 'sluice', 'USAGE') THEN
        RETURN;
    END IF;
    GRANT USAGE ON SCHEMA sluice TO sluice_app;
    GRANT SELECT, INSERT, DELETE ON sluice.events, sluice.idempotency_keys TO sluice_app;
    GRANT SELECT ON sluice.cursor_secret, sluice._yoyo_migration TO sluice_app;
    GRANT USAGE ON SEQUENCE sluice.events_id_seq TO sluice_app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON sluice.error_deltas, sluice.error_groups, sluice.error_hours, sluice.error_users,
        sluice.tasks, sluice.sources, sluice.source_records, sluice.source_runs TO sluice_app;
    GRANT SELECT, UPDATE ON sluice.error_totals TO sluice_app;
    GRANT SELECT, INSERT, UPDATE ON sluice.erasures TO sluice_app;
END
$$;

-- GRANT_RDS_IAM. Every RDS has the role rds_iam, and who is a member logs in by tokens only: RDS takes its password no more.
-- So it is granted where that is asked for, and what somebody granted is not revoked.
DO $$
BEGIN
    IF current_setting('sluice.grant_rds_iam', true) IS DISTINCT FROM 'on'
        OR 2 > (SELECT count(*) FROM pg_roles WHERE rolname IN ('rds_iam', 'sluice_app')) THEN
        RETURN;
    END IF;
    IF NOT pg_has_role('sluice_app', 'rds_iam', 'MEMBER') THEN
        GRANT rds_iam TO sluice_app;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'no right to grant rds_iam to sluice_app: for its login by tokens let a master user grant it';
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app')
        AND NOT has_database_privilege('sluice_app', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO sluice_app', current_database());
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN RAISE WARNING 'no right to let sluice_app connect: let the database''s owner grant it';
END
$$;

-- Logical replication copies no sequence, nor does a dump of data alone: one that is behind its rows goes on behind them. One that is
-- not is left as it is, for the service may be using it.
DO $$
DECLARE
    each record;
    newest bigint;
BEGIN
    FOR each IN
        SELECT attrelid::regclass AS relation, attname AS name, pg_get_serial_sequence(attrelid::regclass::text, attname) AS ids
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'sluice'::regnamespace AND attidentity <> ''
    LOOP
        EXECUTE format('SELECT max(%I) FROM %s', each.name, each.relation) INTO newest;
        IF newest > coalesce(pg_sequence_last_value(each.ids::regclass), 0) THEN
            PERFORM setval(each.ids, newest);
        END IF;
    END LOOP;
    SELECT max(id) INTO newest FROM (SELECT id FROM sluice.events ORDER BY created_at DESC, id DESC LIMIT 1000) AS last;
    IF newest >= coalesce(pg_sequence_last_value('sluice.events_id_seq'), 0) + 10000 THEN
        PERFORM setval('sluice.events_id_seq', newest / 10000 * 10000);
    END IF;
END
$$;
