-- Of an Idempotency-Key the outcomes are kept, and the response is rendered from them. The release before keeps and reads whole
-- responses: of a row that this release wrote it answers 503, so that its client sends the request again, until a pod of this release
-- gets it. (Contract step, two releases on: drop status and body.)
-- depends: 0002.create-role

ALTER TABLE sluice.idempotency_keys ADD COLUMN IF NOT EXISTS outcomes json;
ALTER TABLE sluice.idempotency_keys ALTER COLUMN status SET DEFAULT 503;
ALTER TABLE sluice.idempotency_keys ALTER COLUMN body SET DEFAULT convert_to(
    '{"type": "urn:sluice:problem:database_error", "title": "Service Unavailable", "status": 503, "error": "database_error", '
    '"reason": "kept_by_newer_release", "detail": "a newer release keeps this response; send the request again"}', 'UTF8');
