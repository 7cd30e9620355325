-- What remgate keeps of RemAuth's callbacks, who wants it, and how far the forwarding has come.
-- Times are unix milliseconds. `seq` is a cursor: AUTOINCREMENT never gives a number twice, also after pruning.

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id          TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    service     TEXT,
    uaid        BLOB,
    trust       TEXT    NOT NULL,
    source_ip   TEXT,
    received_at BIGINT  NOT NULL,
    duplicates  BIGINT  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX events_id ON events (id);
-- The same callback twice is one event. 16 bytes instead of 32 digits: this index is what a callback costs.
CREATE UNIQUE INDEX events_once ON events (uaid, type, service);

CREATE TABLE endpoints (
    id              TEXT    PRIMARY KEY NOT NULL,
    name            TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    secret          TEXT    NOT NULL,
    types           TEXT    NOT NULL DEFAULT '[]',
    services        TEXT    NOT NULL DEFAULT '[]',
    format          TEXT    NOT NULL DEFAULT 'standard',
    expected_only   BOOLEAN NOT NULL DEFAULT FALSE,
    enabled         BOOLEAN NOT NULL DEFAULT TRUE,
    disabled_reason TEXT,
    declared        BOOLEAN NOT NULL DEFAULT FALSE,
    created_at      BIGINT  NOT NULL
);
CREATE UNIQUE INDEX endpoints_name ON endpoints (name);

-- `due_at` is when somebody may attempt it: the next attempt's time, or while a lease is held the end of that lease.
-- A settled delivery has none. There are no foreign keys: rows are only ever made from the rows that they name, in one
-- statement or transaction, a delivery outlives its endpoint, and each check would be a locked row for each callback.
CREATE TABLE deliveries (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    event_seq     BIGINT  NOT NULL,
    endpoint_id   TEXT    NOT NULL,
    state         TEXT    NOT NULL DEFAULT 'pending',
    replay        BOOLEAN NOT NULL DEFAULT FALSE,
    attempt_count BIGINT  NOT NULL DEFAULT 0,
    due_at        BIGINT,
    lease_token   TEXT,
    created_at    BIGINT  NOT NULL,
    settled_at    BIGINT
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_event ON deliveries (event_seq);

CREATE TABLE attempts (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    delivery_seq BIGINT  NOT NULL,
    at           BIGINT  NOT NULL,
    status       BIGINT,
    error        TEXT,
    elapsed_ms   BIGINT  NOT NULL,
    response     TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX attempts_delivery ON attempts (delivery_seq);

-- One row that the readiness check writes: a store that can only be read is not ready.
CREATE TABLE probe (
    id BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);
INSERT INTO probe (id, at) VALUES (1, 0);
