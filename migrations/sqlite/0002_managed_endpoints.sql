-- Endpoints that are managed through the API, and delivered to as each of them wants; what remgate says of itself.

ALTER TABLE events ADD COLUMN detail TEXT;
-- The endpoint that an event of our own is about, which is not told of it.
ALTER TABLE events ADD COLUMN about TEXT;

ALTER TABLE endpoints ADD COLUMN headers TEXT NOT NULL DEFAULT '{}';
ALTER TABLE endpoints ADD COLUMN schedule TEXT;
ALTER TABLE endpoints ADD COLUMN timeout TEXT;
ALTER TABLE endpoints ADD COLUMN max_in_flight BIGINT;
ALTER TABLE endpoints ADD COLUMN rate_limit TEXT;
ALTER TABLE endpoints ADD COLUMN signing_key TEXT;
ALTER TABLE endpoints ADD COLUMN previous_secret TEXT;
ALTER TABLE endpoints ADD COLUMN previous_secret_until BIGINT;
-- How many attempts in a row have failed, since when, and when a held-back endpoint may be probed.
ALTER TABLE endpoints ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN failing_since BIGINT;
ALTER TABLE endpoints ADD COLUMN probe_at BIGINT;
-- Stood in the configuration once and does not any more: it can be removed, and nothing else.
ALTER TABLE endpoints ADD COLUMN undeclared BOOLEAN NOT NULL DEFAULT FALSE;

-- What was given up is looked for by its endpoint; no callback pays for this index.
CREATE INDEX deliveries_exhausted ON deliveries (endpoint_id, event_seq) WHERE state = 'exhausted';

-- Answers to requests that carried an Idempotency-Key. One without a status is still being worked on.
CREATE TABLE idempotency (
    scope       TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    status      BIGINT,
    body        TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
