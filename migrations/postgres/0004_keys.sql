-- Keys to the internal door. A key itself is nowhere: only its SHA-256 is.

CREATE TABLE keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    digest       TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    -- Whether `scopes` has `admin`: as long as there is such a key the door is locked.
    admin        BOOLEAN NOT NULL,
    service      TEXT,
    expires_at   BIGINT,
    created_at   BIGINT  NOT NULL,
    -- To the minute.
    last_used_at BIGINT
);
CREATE UNIQUE INDEX keys_digest ON keys (digest);
CREATE INDEX keys_admin ON keys (id) WHERE admin;
