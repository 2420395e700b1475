"""Every SQL statement of pull sources, by name. `now()`: the database's clock judges leases and what is due."""

from sluice.stores.postgresql.statements import BOUNDED

# One puller registers at a time.
REGISTER_LOCK = "SELECT pg_advisory_xact_lock(hashtext('sluice.sources'))"
REGISTER = """
INSERT INTO sluice.sources AS s (name, url, schedule, definition, is_default)
VALUES (%(name)s, %(url)s, %(schedule)s, %(definition)s, %(is_default)s)
ON CONFLICT (name) DO UPDATE SET url = excluded.url, schedule = excluded.schedule, definition = excluded.definition,
    is_default = excluded.is_default, next_run_at = NULL, etag = NULL, last_modified = NULL
WHERE s.definition <> excluded.definition
"""
ONE_DEFAULT = "UPDATE sluice.sources SET is_default = (name = %(name)s) WHERE is_default <> (name = %(name)s)"
# What a clock wrote that was ahead and has been set back holds for nobody, or a source would wait for that time to come.
AHEAD = "last_attempt > now() + interval '1 minute'"
FREE_NOW = f"(lease_until IS NULL OR lease_until < now() OR {AHEAD})"
DUE_NOW = f"(next_run_at IS NULL OR next_run_at <= now() OR requested_at IS NOT NULL OR {AHEAD})"
DUE = f"""
SELECT name, coalesce({DUE_NOW} AND {FREE_NOW}, false), coalesce(last_success, created_at)
FROM sluice.sources WHERE name = ANY(%s) ORDER BY next_run_at NULLS FIRST, name
"""  # noqa: S608 - conditions of ours
FREE = f"""
SELECT run_id, etag, last_modified FROM sluice.sources
WHERE name = %(name)s AND {FREE_NOW} AND (%(forced)s OR {DUE_NOW}) FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - conditions of ours
# Its puller died, or was away for longer than its lease.
INTERRUPTED = """
UPDATE sluice.source_runs SET status = 'failure', reason = 'interrupted', ended_at = now(),
    error_message = 'the puller ended before the run did'
WHERE id = %s AND status = 'running'
"""
BEGIN = "INSERT INTO sluice.source_runs (source) VALUES (%s) RETURNING id, started_at"
TAKE = """
UPDATE sluice.sources SET run_id = %(run)s, lease_until = now() + make_interval(secs => %(seconds)s), requested_at = NULL,
    last_attempt = now()
WHERE name = %(name)s
"""
RENEW = """
UPDATE sluice.sources SET lease_until = now() + make_interval(secs => %(seconds)s)
WHERE name = %(name)s AND run_id = %(run)s AND lease_until IS NOT NULL
"""
TOTALS = "SELECT status, pages, created, updated, unchanged, invalid FROM sluice.source_runs WHERE id = %s"
# A record that is as it was is not written again, not even locked: the lease keeps others away. `place` follows the list's order.
UPSERT = """
INSERT INTO sluice.source_records AS r (source, id, digest, content)
SELECT %(source)s, given.id, given.digest, given.content::jsonb
FROM unnest(%(ids)s::text[], %(digests)s::bytea[], %(contents)s::text[]) WITH ORDINALITY AS given(id, digest, content, ord)
WHERE NOT EXISTS (
    SELECT FROM sluice.source_records AS kept
    WHERE kept.source = %(source)s AND kept.id = given.id AND kept.digest = given.digest
)
ORDER BY given.ord
ON CONFLICT (source, id) DO UPDATE SET digest = excluded.digest, content = excluded.content, version = r.version + 1,
    ingested_at = now()
RETURNING id, version
"""
COUNT = """
UPDATE sluice.source_runs SET pages = %(page)s, created = created + %(created)s, updated = updated + %(updated)s,
    unchanged = unchanged + %(unchanged)s, invalid = invalid + %(invalid)s
WHERE id = %(run)s RETURNING created, updated, unchanged, invalid
"""
# A list that was not modified holds the records of the run before.
END_RUN = """
UPDATE sluice.source_runs SET status = %(status)s, reason = %(reason)s, error_message = %(error_message)s, ended_at = now(),
    not_modified = %(not_modified)s,
    unchanged = CASE WHEN %(not_modified)s THEN (SELECT records FROM sluice.sources WHERE name = %(name)s) ELSE unchanged END
WHERE id = %(run)s
"""
SUCCESS = """
UPDATE sluice.sources SET lease_until = NULL, next_run_at = %(next_run)s, last_success = now(),
    etag = CASE WHEN definition = %(definition)s THEN %(etag)s END,
    last_modified = CASE WHEN definition = %(definition)s THEN %(last_modified)s END,
    records = CASE WHEN %(not_modified)s THEN records ELSE %(records)s END
WHERE name = %(name)s
"""
FAILURE = "UPDATE sluice.sources SET lease_until = NULL, next_run_at = %(next_run)s WHERE name = %(name)s"
FORGET = """
DELETE FROM sluice.source_runs WHERE id = ANY(ARRAY(
    SELECT id FROM (
        SELECT id, started_at FROM sluice.source_runs
        WHERE source = %(source)s AND id < (SELECT run_id FROM sluice.sources WHERE name = %(source)s)
        ORDER BY id LIMIT %(limit)s
    ) AS first WHERE started_at < now() - make_interval(days => %(days)s)
))
"""

# A run whose lease is over is not running, whatever its row says.
STATE = """
SELECT s.name, s.url, s.schedule, s.is_default,
    CASE WHEN r.status = 'running' AND s.lease_until < now() THEN 'failure' ELSE coalesce(r.status, 'never_run') END,
    CASE WHEN r.status = 'running' AND s.lease_until < now() THEN 'interrupted' ELSE r.reason END,
    CASE WHEN r.status = 'running' AND s.lease_until < now() THEN 'the puller ended before the run did' ELSE r.error_message END,
    s.last_attempt, s.last_success, coalesce(r.created + r.updated + r.unchanged, 0), s.next_run_at, s.requested_at
FROM sluice.sources AS s LEFT JOIN sluice.source_runs AS r ON r.id = s.run_id
"""
ALL_STATES = f"{STATE} ORDER BY s.name"
STATE_OF = f"{STATE} WHERE s.name = %s"
STATE_OF_DEFAULT = f"{STATE} WHERE s.is_default"
RUNS = """
SELECT id, started_at, ended_at, status, reason, error_message, pages, created, updated, unchanged, invalid
FROM sluice.source_runs WHERE source = %s ORDER BY id DESC LIMIT %s
"""
REQUEST = "UPDATE sluice.sources SET requested_at = coalesce(requested_at, now()) WHERE name = %s RETURNING requested_at"
# Seed 003's Post: the record's own fields, and two of ours.
POSTS = """
SELECT '' AS sort_value, place AS row_id,
    (content || jsonb_build_object('ingested_at', ingested_at, 'source', source))::text AS log
FROM (
    SELECT * FROM sluice.source_records WHERE source = (SELECT name FROM sluice.sources WHERE is_default LIMIT 1) {which}
) AS found
"""
POST_PAGE = BOUNDED.format(found=POSTS.format(which="ORDER BY place LIMIT %s OFFSET %s"))
POST_OF = POSTS.format(which="AND id = %s")
RECORDS = BOUNDED.format(
    found="""
SELECT '' AS sort_value, place AS row_id, json_build_object('id', id, 'version', version, 'content', content,
    'created_at', created_at, 'ingested_at', ingested_at)::text AS log
FROM sluice.source_records WHERE source = %s AND place > %s ORDER BY place LIMIT %s
"""
)
KNOWN = "SELECT 1 FROM sluice.sources WHERE name = %s"
COUNT_UP_TO = "SELECT count(*) FROM (SELECT 1 FROM sluice.source_records WHERE source = %s LIMIT %s) AS counted"
