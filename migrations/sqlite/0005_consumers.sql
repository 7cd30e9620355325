-- Readers whose place is kept for them. `service` is whose key made them; empty for a key that sees every service.

CREATE TABLE consumers (
    service    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    place      BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (service, name)
);
