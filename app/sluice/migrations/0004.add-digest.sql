-- The digest of today's rule, one byte with the rule's number before it, where it is not the SHA-256 in `content`, which is rule 1's:
-- the release before reads and writes that only. (Contract step, two releases on: `content` takes what is here, and this goes.)
-- depends: 0003.keep-outcomes

ALTER TABLE sluice.events ADD COLUMN IF NOT EXISTS digest bytea;
