-- After every `sluice migrate`: a dump that was restored into another server brings neither the role nor its rights. One that has
-- some rights keeps just these, for what an administrator took away stays away.
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
    -- On RDS this lets the role log in by IAM tokens (DATABASE_IAM_AUTH).
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
        GRANT rds_iam TO sluice_app;
    END IF;
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
