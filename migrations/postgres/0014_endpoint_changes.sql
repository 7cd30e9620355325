-- Tells every replica that the settings of an endpoint have changed, so that no attempt goes by the old ones. Figures of its
-- health are left out: they change with each failure.

CREATE FUNCTION remgate_announce_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('remgate', 'endpoints');
    RETURN NULL;
END
$$;

CREATE TRIGGER endpoints_changed AFTER UPDATE ON endpoints FOR EACH ROW
WHEN ((OLD.name, OLD.url, OLD.secret, OLD.types, OLD.services, OLD.format, OLD.expected_only, OLD.headers, OLD.schedule,
       OLD.timeout, OLD.max_in_flight, OLD.rate_limit, OLD.signing_key, OLD.previous_secret, OLD.previous_secret_until,
       OLD.enabled)
    IS DISTINCT FROM
      (NEW.name, NEW.url, NEW.secret, NEW.types, NEW.services, NEW.format, NEW.expected_only, NEW.headers, NEW.schedule,
       NEW.timeout, NEW.max_in_flight, NEW.rate_limit, NEW.signing_key, NEW.previous_secret, NEW.previous_secret_until,
       NEW.enabled))
EXECUTE FUNCTION remgate_announce_endpoint();

CREATE TRIGGER endpoints_removed AFTER DELETE ON endpoints FOR EACH ROW EXECUTE FUNCTION remgate_announce_endpoint();
