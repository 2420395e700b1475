-- The rights of the service's role where it is there already: rows only, no DDL. Where it is not, post-apply.sql makes it and gives
-- it these and all later ones.
-- depends: 0001.create-events

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_app') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_app;
        GRANT SELECT, INSERT, DELETE ON sluice.events TO sluice_app;
        GRANT SELECT, INSERT, DELETE ON sluice.idempotency_keys TO sluice_app;
        GRANT SELECT ON sluice.cursor_secret, sluice._yoyo_migration TO sluice_app;
        GRANT USAGE ON SEQUENCE sluice.events_id_seq TO sluice_app;
    END IF;
END
$$;
