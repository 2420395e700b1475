-- The role of the service: rows only, no DDL.
-- depends: 0001.create-events

-- A managed database may have given the role already, or not let this user make roles: neither stops the migration,
-- and the service then logs in as whoever DATABASE_URL names.
DO $$
BEGIN
    CREATE ROLE sluice_app LOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE WARNING 'no right to create role sluice_app: the service uses this login';
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_app;
        GRANT SELECT, INSERT, DELETE ON sluice.events TO sluice_app;
        GRANT SELECT, INSERT, DELETE ON sluice.idempotency_keys TO sluice_app;
        GRANT SELECT ON sluice.cursor_secret, sluice._yoyo_migration TO sluice_app;
        GRANT USAGE ON SEQUENCE sluice.events_id_seq TO sluice_app;
    END IF;
    -- On RDS this lets the role log in by IAM tokens (DATABASE_IAM_AUTH).
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam')
        AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT rds_iam TO sluice_app;
    END IF;
END
$$;
