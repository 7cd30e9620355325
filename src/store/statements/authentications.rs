//! Statements about expected authentications.

use super::events::fits_filter;

dialect! { close_watched, run_out, pass_gate, unexpected_events, offer, early_expectations, keep_offers }

macro_rules! completing {
    ($uaid:literal, $service:literal) => {
        concat!(
            "(SELECT MIN(c.seq) FROM events c WHERE c.uaid = ",
            $uaid,
            " AND c.service = ",
            $service,
            " AND c.type IN ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed'))"
        )
    };
}

common! {
    /// Authentication $1, $2 in one row, also of an unknown one.
    AUTHENTICATION = concat!(
        "SELECT a.subject, a.state, a.expected_at, a.expires_at, a.expired_at, a.claimed_at, \
            e.id AS event, e.type, e.trust, e.received_at, e.late \
        FROM (SELECT 1) AS one LEFT JOIN authentications a ON a.uaid = $1 AND a.service = $2 \
            LEFT JOIN events e ON e.seq = ", completing!("$1", "$2")
    );
    /// $1 uaid, $2 service, $3 subject, $4 state, $5 now, $6 until when. No row changed: it is known already.
    EXPECT = "INSERT INTO authentications (uaid, service, subject, state, expected_at, expires_at, watch_until) \
        VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (uaid, service) DO NOTHING";
    /// The same for an authentication that was claimed before it was expected.
    EXPECT_CLAIMED = "UPDATE authentications SET subject = $3, state = $4, expected_at = $5, expires_at = $6, \
            watch_until = $6 WHERE uaid = $1 AND service = $2 AND expected_at IS NULL";
    /// The same for one that is pending, which stays expected since it was.
    EXPECT_AGAIN = concat!(
        "UPDATE authentications SET subject = $3, state = $4, expires_at = $5, watch_until = $5 \
        WHERE uaid = $1 AND service = $2 AND expired_at IS NULL AND ", completing!("$1", "$2"), " IS NULL"
    );
    /// No row changed: it was claimed before.
    CLAIM_AUTHENTICATION = "INSERT INTO authentications (uaid, service, claimed_at) VALUES ($1, $2, $3) \
        ON CONFLICT (uaid, service) DO UPDATE SET claimed_at = excluded.claimed_at \
        WHERE authentications.claimed_at IS NULL";
    /// Records at $3 that events which came before their expectation are offered. No row changed: they were offered before.
    TAKE_OFFER = "UPDATE authentications SET offered_at = $3 \
        WHERE uaid = $1 AND service = $2 AND offered_at IS NULL AND expired_at IS NULL";
    NEXT_EXPIRY = "SELECT MIN(watch_until) AS next FROM authentications WHERE watch_until IS NOT NULL";
    KEEP_SECRET = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    SECRET = "SELECT value FROM secrets WHERE name = $1";
}

/// The first $2 expectations with an expiry up to $1, without rows that another transaction holds: the gate of the appends is
/// taken, and callbacks wait behind it.
macro_rules! watched {
    ($lock:literal) => {
        concat!(
            "(uaid, service) IN (SELECT w.uaid, w.service FROM authentications w WHERE w.watch_until <= $1 \
            ORDER BY w.watch_until LIMIT $2",
            $lock,
            ")"
        )
    };
}

/// Ends the watch of completed authentications.
macro_rules! close_watched {
    ($lock:literal) => {
        concat!(
            "UPDATE authentications SET watch_until = NULL WHERE ",
            watched!($lock),
            " AND ",
            completing!("authentications.uaid", "authentications.service"),
            " IS NOT NULL"
        )
    };
}

/// Expires the others.
macro_rules! run_out {
    ($lock:literal) => {
        concat!(
            "UPDATE authentications SET expired_at = $1, watch_until = NULL WHERE ",
            watched!($lock),
            " AND ",
            completing!("authentications.uaid", "authentications.service"),
            " IS NULL RETURNING uaid, service"
        )
    };
}

/// Deliveries of the events $1 to endpoints that want only expected ones; $2 now.
macro_rules! offer {
    ($list1:literal, $any_of_types:literal, $any_of_services:literal) => {
        concat!(
            "INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at, offered) \
            SELECT e.seq, p.id, CAST($2 AS BIGINT), CAST($2 AS BIGINT), TRUE \
            FROM events e JOIN endpoints p ON p.enabled AND p.expected_only AND ",
            fits_filter!($any_of_types, $any_of_services),
            " WHERE e.seq IN (",
            $list1,
            ") AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq AND d.endpoint_id = p.id)"
        )
    };
}

/// Expectations of the events $1, all of which came before theirs.
macro_rules! early_expectations {
    ($list1:literal) => {
        concat!(
            "SELECT e.seq, a.subject, a.state FROM events e JOIN authentications a ON a.uaid = e.uaid AND a.service = e.service \
            WHERE a.expected_at IS NOT NULL AND e.seq IN (",
            $list1,
            ")"
        )
    };
}

/// Keeps the events $1 for the provisioning rule, while there is one.
macro_rules! keep_offers {
    ($list1:literal) => {
        concat!(
            "INSERT INTO provisioning_offers (event_seq) SELECT e.seq FROM events e WHERE e.seq IN (",
            $list1,
            ") AND EXISTS (SELECT 1 FROM places WHERE name = 'provisioning') ON CONFLICT (event_seq) DO NOTHING"
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    close_watched: close_watched!(""),
    run_out: run_out!(""),
    // SQLite has one writer: no append runs beside this.
    pass_gate: "SELECT 1",
    unexpected_events: "SELECT e.seq FROM events e WHERE e.uaid = $1 AND e.service = $2 AND NOT e.expected AND NOT e.late \
        AND e.type IN ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed') ORDER BY e.seq",
    offer: offer!(
        "SELECT value FROM json_each($1)",
        "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
        "e.service IN (SELECT s.value FROM json_each(p.services) AS s)"
    ),
    early_expectations: early_expectations!("SELECT value FROM json_each($1)"),
    keep_offers: keep_offers!("SELECT value FROM json_each($1)"),
};

pub(in crate::store) const POSTGRES: Texts = Texts {
    close_watched: close_watched!(" FOR UPDATE SKIP LOCKED"),
    run_out: run_out!(" FOR UPDATE SKIP LOCKED"),
    // The same lock that every append takes: nothing can be completed while it is decided what has run out.
    pass_gate: "SELECT pg_advisory_xact_lock(8241996507418201)",
    unexpected_events: "SELECT u.seq FROM remgate_unexpected_events($1, $2) AS u(seq)",
    offer: offer!(
        "SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)",
        "jsonb_exists(CAST(p.types AS jsonb), e.type)",
        "jsonb_exists(CAST(p.services AS jsonb), e.service)"
    ),
    early_expectations: early_expectations!(
        "SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)"
    ),
    keep_offers: keep_offers!("SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)"),
};
