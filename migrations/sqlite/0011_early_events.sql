-- Events that came before their expectation: they are offered to endpoints that want only expected ones, and to provisioning.
-- `offered_at` of an authentication is when that was done; `offered` marks the deliveries that it made, whose event carries what
-- was expected. `provisioning_offers` holds the events until the provisioning rule has read them.

ALTER TABLE authentications ADD COLUMN offered_at BIGINT;
ALTER TABLE deliveries ADD COLUMN offered BOOLEAN NOT NULL DEFAULT FALSE;
CREATE TABLE provisioning_offers (
    event_seq BIGINT PRIMARY KEY NOT NULL
);
