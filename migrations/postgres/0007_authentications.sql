-- What apps say that they expect, and who has taken what came of it. Whether it came stands in `events`.
-- `expected_at` is null where nobody expected it and somebody has claimed it all the same. `watch_until` is when somebody has
-- to look whether it ran out, and null once that was done. `state` is the app's own JSON.
CREATE TABLE authentications (
    uaid        BYTEA   NOT NULL,
    service     TEXT   NOT NULL,
    subject     TEXT,
    state       TEXT,
    expected_at BIGINT,
    expires_at  BIGINT,
    watch_until BIGINT,
    expired_at  BIGINT,
    claimed_at  BIGINT,
    PRIMARY KEY (uaid, service)
);
CREATE INDEX authentications_watched ON authentications (watch_until) WHERE watch_until IS NOT NULL;

-- What was expected of an event when it was stored; it never changes.
ALTER TABLE events ADD COLUMN subject TEXT;
ALTER TABLE events ADD COLUMN state TEXT;
ALTER TABLE events ADD COLUMN expected BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE events ADD COLUMN late BOOLEAN NOT NULL DEFAULT FALSE;

-- Secrets of remgate's own that all replicas share, each made by whoever came first.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
