-- Events that came before their expectation: they are offered to endpoints that want only expected ones, and to provisioning.
-- `offered_at` of an authentication is when that was done; `offered` marks the deliveries that it made, whose event carries what
-- was expected. `provisioning_offers` holds the events until the provisioning rule has read them.

ALTER TABLE authentications ADD COLUMN offered_at BIGINT;
ALTER TABLE deliveries ADD COLUMN offered BOOLEAN NOT NULL DEFAULT FALSE;
CREATE TABLE provisioning_offers (
    event_seq BIGINT PRIMARY KEY NOT NULL
);

-- A statement sees the data as of its beginning, also when it waits for a lock. The statements of a volatile function see it
-- as of their own beginning: what these two read is as of the time when the lock of the appends had been taken.

-- The expectations that a batch of events meets. `passed` says that the lock has been taken.
CREATE FUNCTION remgate_expectations(batch jsonb, passed boolean)
    RETURNS TABLE (uaid bytea, service text, subject text, state text, expired_at bigint)
    LANGUAGE sql VOLATILE AS $$
        SELECT a.uaid, a.service, a.subject, a.state, a.expired_at
        FROM jsonb_array_elements(batch) AS j(value)
            JOIN authentications a ON a.uaid = decode(j.value->>3, 'hex') AND a.service = j.value->>2
        WHERE a.expected_at IS NOT NULL AND passed
    $$;

-- The events of an authentication that were stored without its expectation, once every append under way is over.
CREATE FUNCTION remgate_unexpected_events(of_uaid bytea, of_service text)
    RETURNS SETOF bigint
    LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(8241996507418201);
            RETURN QUERY SELECT e.seq FROM events e
                WHERE e.uaid = of_uaid AND e.service = of_service AND NOT e.expected AND NOT e.late
                    AND e.type IN ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed')
                ORDER BY e.seq;
        END
    $$;
