-- Callbacks of admitted senders that could not be understood: at most 1,000, the oldest are deleted first. `request` holds no token.

CREATE TABLE rejected_callbacks (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C" NOT NULL,
    trust       TEXT COLLATE "C" NOT NULL,
    source_ip   TEXT COLLATE "C",
    received_at BIGINT NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    request     TEXT COLLATE "C" NOT NULL
);

CREATE UNIQUE INDEX rejected_callbacks_id ON rejected_callbacks (id);
