//! Statements about events and their deliveries.

dialect! {
    append, append_within, events_after, events_before, events_after_of_uaid, events_before_of_uaid, events_by_seq,
    kept,
}

macro_rules! event_columns {
    () => {
        "seq, id, type, service, uaid, trust, source_ip, received_at, duplicates, subject, state, expected, late, detail"
    };
}

common! {
    /// The newest cursor. On PostgreSQL everything up to it is visible, since appending happens under a lock.
    HEAD = "SELECT COALESCE(MAX(seq), 0) AS seq FROM events";
    EVENT = concat!("SELECT ", event_columns!(), " FROM events WHERE id = $1");
}

/// Inserts the events in $1, one JSON array each, in their order. One that is there already only counts how often it came.
/// One that is expected takes its expectation along.
macro_rules! insert_events {
    ($from:literal, $uaid:literal, $expectations:literal, $and:literal, $order:literal) => {
        concat!(
            "INSERT INTO events (id, type, service, uaid, trust, source_ip, received_at, duplicates, detail, about, \
                subject, state, expected, late) \
            SELECT value->>0, value->>1, value->>2, ", $uaid, ", value->>4, value->>5, \
                CAST(value->>6 AS BIGINT), CAST(value->>7 AS BIGINT), value->>8, value->>9, \
                a.subject, a.state, a.uaid IS NOT NULL, \
                a.expired_at IS NOT NULL AND value->>1 <> 'remauth.expired' \
            FROM ", $from, " LEFT JOIN ", $expectations, " ON a.uaid = ", $uaid, " AND a.service = value->>2 \
            WHERE ", $and, " ORDER BY ", $order, " \
            ON CONFLICT (uaid, type, service) DO UPDATE SET duplicates = events.duplicates + 1 + excluded.duplicates \
            RETURNING seq, id, type, service, uaid, about, subject, state, expected, late"
        )
    };
}

/// True if an endpoint (p) wants an event (e): by its type, its service and what its format can say.
/// An event about an endpoint is not sent to that one, and no own event is ever sent to an endpoint that understands
/// only RemAuth's three parameters.
macro_rules! wants {
    ($any_of_types:literal, $any_of_services:literal) => {
        concat!("(e.expected OR NOT p.expected_only) AND ", fits_filter!($any_of_types, $any_of_services))
    };
}
pub(super) use wants;

/// The same without `expected_only`.
macro_rules! fits_filter {
    ($any_of_types:literal, $any_of_services:literal) => {
        concat!(
            "e.about IS DISTINCT FROM p.id \
            AND ((p.types = '[]' AND e.type LIKE 'remauth.%') OR ",
            $any_of_types,
            ") \
            AND (p.services = '[]' OR e.service IS NULL OR ",
            $any_of_services,
            ") \
            AND (p.format <> 'remauth' OR e.type IN \
                ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed'))"
        )
    };
}
pub(super) use fits_filter;

/// Deliveries of new events (e): one for each endpoint (p) that wants the event. Leased by $4 until $3, if there is a
/// $4 and the endpoint is not among $5; due at $2 otherwise.
macro_rules! insert_deliveries {
    ($new:literal, $any_of_types:literal, $any_of_services:literal, $list5:literal) => {
        concat!(
            "INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at, lease_token) \
            SELECT seq, endpoint_id, CAST($2 AS BIGINT), \
                CASE WHEN leased THEN CAST($3 AS BIGINT) ELSE CAST($2 AS BIGINT) END, \
                CASE WHEN leased THEN CAST($4 AS TEXT) END \
            FROM (SELECT e.seq, p.id AS endpoint_id, \
                    CAST($4 AS TEXT) IS NOT NULL AND p.id NOT IN (",
            $list5,
            ") AS leased \
                FROM ",
            $new,
            " JOIN endpoints p ON p.enabled AND ",
            wants!($any_of_types, $any_of_services),
            ") AS owed"
        )
    };
}

/// A page of events: $1 the cursor, $2 the newest cursor, $3 types, $4 services, $5 since, $6 until, $7 maximum number, $8 trusts, $9 subject,
/// $10 uaid where there is one.
macro_rules! page_of_events {
    ($list3:literal, $list4:literal, $list8:literal, $and:literal, $after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM events WHERE seq ",
            $after,
            " $1 AND seq <= $2 \
            AND (CAST($3 AS TEXT) = '[]' OR type IN (",
            $list3,
            ")) \
            AND (CAST($4 AS TEXT) = '[]' OR service IN (",
            $list4,
            ")) \
            AND (CAST($5 AS BIGINT) IS NULL OR received_at >= CAST($5 AS BIGINT)) \
            AND (CAST($6 AS BIGINT) IS NULL OR received_at < CAST($6 AS BIGINT)) \
            AND (CAST($8 AS TEXT) = '[]' OR trust IN (",
            $list8,
            ")) \
            AND (CAST($9 AS TEXT) IS NULL OR subject = CAST($9 AS TEXT)) ",
            $and,
            " ORDER BY seq ",
            $order,
            " LIMIT $7"
        )
    };
}

macro_rules! events_by_seq {
    ($list1:literal) => {
        concat!("SELECT ", event_columns!(), " FROM events WHERE seq IN (", $list1, ")")
    };
}

/// The oldest and the newest event, and the highest number that was ever given. Two looks at the ends of an index: asked
/// for together, SQLite would read all of it.
macro_rules! kept_events {
    ($given:literal) => {
        concat!(
            "SELECT (SELECT MIN(seq) FROM events) AS oldest, COALESCE((SELECT MAX(seq) FROM events), 0) AS newest, \
                COALESCE((",
            $given,
            "), 0) AS given"
        )
    };
}

/// Both inserts, without the transaction around them.
macro_rules! append_on_sqlite {
    () => {
        concat!(
            insert_events!(
                "json_each($1)",
                "unhex(value->>3)",
                "(SELECT * FROM authentications WHERE expected_at IS NOT NULL) AS a",
                "TRUE",
                "key"
            ),
            ", NULL AS delivery, NULL AS endpoint_id, NULL AS lease_token; ",
            insert_deliveries!(
                "json_each($1) JOIN events e ON e.id = value->>0",
                "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
                "e.service IN (SELECT s.value FROM json_each(p.services) AS s)",
                "SELECT value FROM json_each($5)"
            ),
            " RETURNING event_seq AS seq, NULL AS id, NULL AS type, NULL AS service, NULL AS uaid, NULL AS subject, \
                NULL AS state, NULL AS expected, NULL AS late, seq AS delivery, endpoint_id, lease_token"
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    // One round trip to the thread that runs SQLite: a transaction, and the rows of both statements. When it breaks off
    // half-way, its connection is closed.
    append: concat!("BEGIN IMMEDIATE; ", append_on_sqlite!(), "; COMMIT"),
    append_within: append_on_sqlite!(),
    events_after: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "SELECT value FROM json_each($8)",
        "",
        ">",
        "ASC"
    ),
    events_before: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "SELECT value FROM json_each($8)",
        "",
        "<",
        "DESC"
    ),
    events_after_of_uaid: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "SELECT value FROM json_each($8)",
        "AND uaid = $10",
        ">",
        "ASC"
    ),
    events_before_of_uaid: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "SELECT value FROM json_each($8)",
        "AND uaid = $10",
        "<",
        "DESC"
    ),
    events_by_seq: events_by_seq!("SELECT value FROM json_each($1)"),
    kept: kept_events!("SELECT seq FROM sqlite_sequence WHERE name = 'events'"),
};

/// One statement, which is a transaction by itself and one round trip. A sequence alone would let a later number
/// become visible before an earlier one, and a reader that passed it would never see the earlier. So no row gets its
/// number before the gate is passed, and the lock behind it is given back only when the commit has become visible.
/// Its number is arbitrary and remgate's own. The announcement goes out with the commit, one for the whole group; $6 says
/// whose it is.
/// Expectations are read by a function, whose statement sees what was committed before the gate was passed: one that has run
/// out meanwhile is seen as such.
/// `xmax` is 0 in a row version that this statement made and not in one that it changed.
macro_rules! append_on_postgres {
    () => {
        concat!(
            "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock(8241996507418201) AS passed, pg_notify('remgate', $6)), \
            expectations AS MATERIALIZED (SELECT x.* FROM gate CROSS JOIN LATERAL \
                remgate_expectations(CAST($1 AS jsonb), gate.passed IS NOT NULL) AS x), \
            stored AS (",
            insert_events!(
                "gate CROSS JOIN jsonb_array_elements(CAST($1 AS jsonb)) WITH ORDINALITY AS j(value, number)",
                "decode(value->>3, 'hex')",
                "expectations AS a",
                "gate.passed IS NOT NULL",
                "number"
            ),
            ", xmax = 0 AS new), owed AS (",
            insert_deliveries!(
                "(SELECT * FROM stored WHERE new) AS e",
                "jsonb_exists(CAST(p.types AS jsonb), e.type)",
                "jsonb_exists(CAST(p.services AS jsonb), e.service)",
                "SELECT json_array_elements_text(CAST($5 AS json))"
            ),
            " RETURNING event_seq, seq, endpoint_id, lease_token) \
            SELECT seq, id, type, service, uaid, subject, state, expected, late, \
                NULL AS delivery, NULL AS endpoint_id, NULL AS lease_token FROM stored \
            UNION ALL \
            SELECT event_seq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, seq, endpoint_id, lease_token FROM owed"
        )
    };
}

pub(in crate::store) const POSTGRES: Texts = Texts {
    append: append_on_postgres!(),
    append_within: append_on_postgres!(),
    events_after: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "SELECT json_array_elements_text(CAST($8 AS json))",
        "",
        ">",
        "ASC"
    ),
    events_before: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "SELECT json_array_elements_text(CAST($8 AS json))",
        "",
        "<",
        "DESC"
    ),
    events_after_of_uaid: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "SELECT json_array_elements_text(CAST($8 AS json))",
        "AND uaid = $10",
        ">",
        "ASC"
    ),
    events_before_of_uaid: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "SELECT json_array_elements_text(CAST($8 AS json))",
        "AND uaid = $10",
        "<",
        "DESC"
    ),
    events_by_seq: events_by_seq!("SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)"),
    kept: kept_events!("SELECT last_value FROM events_seq_seq WHERE is_called"),
};
