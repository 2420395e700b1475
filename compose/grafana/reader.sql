-- The role by which Grafana reads: the columns that the dashboards show, and nothing that lets anybody in or forge a cursor.
-- Once after each `sluice migrate`, as the schema's owner, by psql 15 or later; it may run any number of times:
--
--   READER_PASSWORD=... psql --file=compose/grafana/reader.sql "$DATABASE_URL"
--
-- Who can use the data source can read everything that is granted here, users' ids and properties too.
\set ON_ERROR_STOP on
\getenv password READER_PASSWORD

SELECT 'CREATE ROLE sluice_reader' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') \gexec
-- Few connections and short statements, so that a dashboard cannot take either from ingest. 5 is `maxOpenConns` of the data source.
ALTER ROLE sluice_reader LOGIN PASSWORD :'password' CONNECTION LIMIT 5;
ALTER ROLE sluice_reader SET default_transaction_read_only = on;
ALTER ROLE sluice_reader SET statement_timeout = '15s';

GRANT USAGE ON SCHEMA sluice TO sluice_reader;
GRANT SELECT (
    event_id, id, "timestamp", event_type, event_name, properties, user_id, session_id, app_version, source, priority,
    fingerprint, created_at
) ON sluice.events TO sluice_reader;
GRANT SELECT ON sluice.error_groups, sluice.error_hours TO sluice_reader;
GRANT SELECT (name, schedule, next_run_at, last_attempt, last_success, records) ON sluice.sources TO sluice_reader;
GRANT SELECT ON sluice.source_runs TO sluice_reader;
