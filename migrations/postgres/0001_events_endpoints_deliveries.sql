-- What remgate keeps of RemAuth's callbacks, who wants it, and how far the forwarding has come.
-- Times are unix milliseconds. `seq` is a cursor: whoever appends holds a lock, so that numbers become visible in order.
-- Texts compare by their bytes ("C"): names sort as on SQLite, and ids are not weighed by a language's rules.

CREATE TABLE events (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL,
    type        TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C",
    uaid        BYTEA,
    trust       TEXT COLLATE "C" NOT NULL,
    source_ip   TEXT COLLATE "C",
    received_at BIGINT  NOT NULL,
    duplicates  BIGINT  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX events_id ON events (id);
-- The same callback twice is one event. 16 bytes instead of 32 digits: this index is what a callback costs.
CREATE UNIQUE INDEX events_once ON events (uaid, type, service);

CREATE TABLE endpoints (
    id              TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    url             TEXT COLLATE "C" NOT NULL,
    secret          TEXT COLLATE "C" NOT NULL,
    types           TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    services        TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    format          TEXT COLLATE "C" NOT NULL DEFAULT 'standard',
    expected_only   BOOLEAN NOT NULL DEFAULT FALSE,
    enabled         BOOLEAN NOT NULL DEFAULT TRUE,
    disabled_reason TEXT COLLATE "C",
    declared        BOOLEAN NOT NULL DEFAULT FALSE,
    created_at      BIGINT  NOT NULL
);
CREATE UNIQUE INDEX endpoints_name ON endpoints (name);

-- `due_at` is when somebody may attempt it: the next attempt's time, or while a lease is held the end of that lease.
-- A settled delivery has none. There are no foreign keys: rows are only ever made from the rows that they name, in one
-- statement or transaction, a delivery outlives its endpoint, and each check would be a locked row for each callback.
CREATE TABLE deliveries (
    seq           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_seq     BIGINT  NOT NULL,
    endpoint_id   TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL DEFAULT 'pending',
    replay        BOOLEAN NOT NULL DEFAULT FALSE,
    attempt_count BIGINT  NOT NULL DEFAULT 0,
    due_at        BIGINT,
    lease_token   TEXT COLLATE "C",
    created_at    BIGINT  NOT NULL,
    settled_at    BIGINT
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_event ON deliveries (event_seq);

CREATE TABLE attempts (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_seq BIGINT  NOT NULL,
    at           BIGINT  NOT NULL,
    status       BIGINT,
    error        TEXT COLLATE "C",
    elapsed_ms   BIGINT  NOT NULL,
    response     TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX attempts_delivery ON attempts (delivery_seq);

-- One row that the readiness check writes: a store that can only be read is not ready.
CREATE TABLE probe (
    id BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);
INSERT INTO probe (id, at) VALUES (1, 0);
