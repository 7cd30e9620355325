//! Statements that show, retry, cancel, replay and recover deliveries.

use super::events::{fits_filter, wants};

dialect! {
    reopen, make_missing, missing_or_given_up, wait_for_recoveries, replay_to_all, replay_to_named, cannot_have,
}

macro_rules! delivery_columns {
    () => {
        "d.seq, e.id AS event, d.endpoint_id, d.state, d.due_at, d.lease_token, d.attempt_count, d.created_at, \
        d.settled_at, d.replay"
    };
}

/// A page of deliveries: $1 the place, $2 the endpoint, $3 the state, $4 the time, $5 how many, $6 the event.
///
/// `+d.seq` keeps the planner from walking all deliveries in their order where few are looked for.
macro_rules! page_of_deliveries {
    ($seq:literal, $after:literal, $order:literal, $among:literal) => {
        concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE ",
            $seq,
            $after,
            "CAST($1 AS BIGINT) \
            AND (CAST($2 AS TEXT) IS NULL OR d.endpoint_id = CAST($2 AS TEXT)) \
            AND CASE CAST($3 AS TEXT) \
                WHEN 'sending' THEN d.due_at IS NOT NULL AND d.lease_token IS NOT NULL AND d.due_at > CAST($4 AS BIGINT) \
                WHEN 'pending' THEN \
                    d.due_at IS NOT NULL AND (d.lease_token IS NULL OR d.due_at <= CAST($4 AS BIGINT)) \
                ELSE CAST($3 AS TEXT) IS NULL OR d.state = CAST($3 AS TEXT) END \
            AND (CAST($6 AS TEXT) IS NULL OR e.id = CAST($6 AS TEXT)) AND ",
            $among,
            " ORDER BY ",
            $seq,
            $order,
            " LIMIT CAST($5 AS BIGINT)"
        )
    };
}

common! {
    DELIVERIES_AFTER = page_of_deliveries!("d.seq", " > ", " ASC", "TRUE");
    DELIVERIES_BEFORE = page_of_deliveries!("d.seq", " < ", " DESC", "TRUE");
    OPEN_AFTER = page_of_deliveries!("+d.seq", " > ", " ASC", "d.due_at IS NOT NULL");
    OPEN_BEFORE = page_of_deliveries!("+d.seq", " < ", " DESC", "d.due_at IS NOT NULL");
    EXHAUSTED_AFTER = page_of_deliveries!("+d.seq", " > ", " ASC", "d.state = 'exhausted'");
    EXHAUSTED_BEFORE = page_of_deliveries!("+d.seq", " < ", " DESC", "d.state = 'exhausted'");
    OF_EVENT_AFTER = page_of_deliveries!("+d.seq", " > ", " ASC",
        "d.event_seq = (SELECT o.seq FROM events o WHERE o.id = CAST($6 AS TEXT))");
    OF_EVENT_BEFORE = page_of_deliveries!("+d.seq", " < ", " DESC",
        "d.event_seq = (SELECT o.seq FROM events o WHERE o.id = CAST($6 AS TEXT))");
    /// A delivery, once for each of its last $2 attempts, in their order; once without one if there is none. One statement,
    /// so that both are of the same moment.
    DELIVERY = concat!(
        "SELECT ", delivery_columns!(), ", a.at, a.status, a.error, a.elapsed_ms, a.response \
        FROM deliveries d JOIN events e ON e.seq = d.event_seq \
            LEFT JOIN attempts a ON a.delivery_seq = d.seq AND a.seq IN \
                (SELECT l.seq FROM attempts l WHERE l.delivery_seq = $1 ORDER BY l.seq DESC LIMIT $2) \
        WHERE d.seq = $1 ORDER BY a.seq"
    );
    /// Makes a delivery due at $2. The schedule of a finished one begins anew. A delivery that is being sent, or whose endpoint was
    /// removed, stays as it is.
    RETRY = "UPDATE deliveries SET \
            attempts_before = CASE WHEN due_at IS NULL THEN attempt_count ELSE attempts_before END, \
            state = 'pending', due_at = $2, settled_at = NULL, lease_token = NULL \
        WHERE seq = $1 AND state <> 'succeeded' \
            AND (due_at IS NULL OR lease_token IS NULL OR due_at <= $2) \
            AND EXISTS (SELECT 1 FROM endpoints p WHERE p.id = deliveries.endpoint_id)";
    CANCEL = "UPDATE deliveries SET state = 'cancelled', settled_at = $2, due_at = NULL, lease_token = NULL \
        WHERE seq = $1 AND due_at IS NOT NULL";
    /// Range of the events that were received in [$1, $2).
    BOUNDS = "SELECT COALESCE(MIN(seq), 1) AS oldest, COALESCE(MAX(seq), 0) AS newest FROM events \
        WHERE received_at >= $1 AND received_at < $2";
}

/// Events (e) between the places $2 and $3, received in [$4, $5), that endpoint $1 (p) wants.
macro_rules! wanted_within {
    ($any_of_types:literal, $any_of_services:literal) => {
        concat!(
            " FROM events e JOIN endpoints p ON p.id = $1 AND ",
            wants!($any_of_types, $any_of_services),
            " WHERE e.seq > $2 AND e.seq <= $3 AND e.received_at >= $4 AND e.received_at < $5 "
        )
    };
}

/// Reopens exhausted deliveries, one for each event that has no other: the first.
macro_rules! reopen {
    ($t:literal, $s:literal) => {
        concat!(
            "UPDATE deliveries SET state = 'pending', due_at = $6, settled_at = NULL, lease_token = NULL, \
                attempts_before = attempt_count \
            WHERE state = 'exhausted' AND seq IN (SELECT o.first FROM (SELECT MIN(d.seq) AS first FROM \
                (SELECT e.seq ",
            wanted_within!($t, $s),
            ") AS w JOIN deliveries d ON d.event_seq = w.seq AND d.endpoint_id = $1 \
                GROUP BY w.seq HAVING MIN(d.state) = 'exhausted' AND MAX(d.state) = 'exhausted') AS o)"
        )
    };
}

macro_rules! make_missing {
    ($t:literal, $s:literal) => {
        concat!(
            "INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at) \
            SELECT e.seq, p.id, CAST($6 AS BIGINT), CAST($6 AS BIGINT)",
            wanted_within!($t, $s),
            "AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq AND d.endpoint_id = p.id)"
        )
    };
}

/// Number of rows of the two above.
macro_rules! missing_or_given_up {
    ($t:literal, $s:literal) => {
        concat!(
            "SELECT COUNT(*) AS found",
            wanted_within!($t, $s),
            "AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq AND d.endpoint_id = p.id \
                AND d.state <> 'exhausted')"
        )
    };
}

/// Creates deliveries of event $1, due at $2.
macro_rules! replay {
    ($to:expr) => {
        concat!(
            "INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at, replay) \
            SELECT e.seq, p.id, CAST($2 AS BIGINT), CAST($2 AS BIGINT), TRUE \
            FROM events e JOIN endpoints p ON p.enabled AND ",
            $to,
            " WHERE e.id = $1 RETURNING seq, endpoint_id"
        )
    };
}

/// Endpoints among $2 that cannot get event $1 at all: it is about them, or their format cannot express it.
macro_rules! cannot_have {
    ($list2:literal) => {
        concat!(
            "SELECT p.id FROM events e JOIN endpoints p ON p.id IN (",
            $list2,
            ") WHERE e.id = $1 AND (e.about = p.id OR (p.format = 'remauth' AND e.type NOT IN \
                ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed'))) ORDER BY p.id"
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    reopen: reopen!(
        "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
        "e.service IN (SELECT s.value FROM json_each(p.services) AS s)"
    ),
    make_missing: make_missing!(
        "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
        "e.service IN (SELECT s.value FROM json_each(p.services) AS s)"
    ),
    missing_or_given_up: missing_or_given_up!(
        "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
        "e.service IN (SELECT s.value FROM json_each(p.services) AS s)"
    ),
    // SQLite has one writer, which waits for all before it.
    wait_for_recoveries: "SELECT 1",
    replay_to_all: replay!(wants!(
        "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
        "e.service IN (SELECT s.value FROM json_each(p.services) AS s)"
    )),
    replay_to_named: replay!("p.id IN (SELECT value FROM json_each($3))"),
    cannot_have: cannot_have!("SELECT value FROM json_each($2)"),
};

pub(in crate::store) const POSTGRES: Texts = Texts {
    reopen: reopen!(
        "jsonb_exists(CAST(p.types AS jsonb), e.type)",
        "jsonb_exists(CAST(p.services AS jsonb), e.service)"
    ),
    make_missing: make_missing!(
        "jsonb_exists(CAST(p.types AS jsonb), e.type)",
        "jsonb_exists(CAST(p.services AS jsonb), e.service)"
    ),
    missing_or_given_up: missing_or_given_up!(
        "jsonb_exists(CAST(p.types AS jsonb), e.type)",
        "jsonb_exists(CAST(p.services AS jsonb), e.service)"
    ),
    // Two recoveries at once would both find the same missing. The number is arbitrary and remgate's own.
    wait_for_recoveries: "SELECT pg_advisory_xact_lock(8241996507418202)",
    replay_to_all: replay!(wants!(
        "jsonb_exists(CAST(p.types AS jsonb), e.type)",
        "jsonb_exists(CAST(p.services AS jsonb), e.service)"
    )),
    replay_to_named: replay!("p.id IN (SELECT json_array_elements_text(CAST($3 AS json)))"),
    cannot_have: cannot_have!("SELECT json_array_elements_text(CAST($2 AS json))"),
};
