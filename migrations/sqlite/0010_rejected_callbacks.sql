-- Callbacks of admitted senders that could not be understood: at most 1,000, the oldest are deleted first. `request` holds no token.

CREATE TABLE rejected_callbacks (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id          TEXT    NOT NULL,
    service     TEXT    NOT NULL,
    trust       TEXT    NOT NULL,
    source_ip   TEXT,
    received_at BIGINT  NOT NULL,
    reason      TEXT    NOT NULL,
    request     TEXT    NOT NULL
);

CREATE UNIQUE INDEX rejected_callbacks_id ON rejected_callbacks (id);
