-- Whom the provisioning rule invites: one row for each authentication that asked for it, kept so that none is acted on twice.
-- `due_at` is when somebody may act on it: the next attempt's time, or while a lease is held the end of that lease. A settled
-- one has none. `in_doubt`: whether an attempt may have reached RemotePC without anybody knowing.
CREATE TABLE provisionings (
    uaid          BYTEA   NOT NULL,
    service       TEXT    NOT NULL,
    event_id      TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    computers     BIGINT  NOT NULL,
    dry_run       BOOLEAN NOT NULL,
    attempt_count BIGINT  NOT NULL DEFAULT 0,
    in_doubt      BOOLEAN NOT NULL DEFAULT FALSE,
    due_at        BIGINT,
    lease_token   TEXT,
    created_at    BIGINT  NOT NULL,
    settled_at    BIGINT,
    outcome       TEXT,
    PRIMARY KEY (uaid, service)
);
CREATE INDEX provisionings_due ON provisionings (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX provisionings_settled ON provisionings (settled_at) WHERE settled_at IS NOT NULL;

-- How far remgate's own rules have read the events.
CREATE TABLE places (
    name  TEXT   PRIMARY KEY NOT NULL,
    place BIGINT NOT NULL
);
