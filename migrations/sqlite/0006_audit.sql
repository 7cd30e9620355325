-- What was done, by whom, to whom, and what came of it. An entry is begun before the deed, as `unknown`, and ended after it.

CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id          TEXT    NOT NULL,
    at          BIGINT  NOT NULL,
    who_id      TEXT    NOT NULL,
    who_name    TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    whom        TEXT,
    outcome     TEXT    NOT NULL DEFAULT 'unknown',
    detail      TEXT,
    finished_at BIGINT,
    request_id  TEXT
);
CREATE UNIQUE INDEX audit_id ON audit (id);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_whom ON audit (whom, seq) WHERE whom IS NOT NULL;
