//! Every statement, whole. Written once for both engines; where the text must differ, the difference is a fragment.

macro_rules! dialect {
    ($($name:ident),+ $(,)?) => {
        /// The statements whose text differs between the engines.
        #[derive(Debug)]
        pub struct Dialect { $(pub(super) $name: &'static str,)+ }

        impl Dialect {
            /// Each with its name.
            pub(super) fn named(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

dialect! {
    append, events_after, events_before, events_after_of_uaid, events_before_of_uaid, events_by_seq, claim, settle,
    record_attempts, undeclare, endpoints_named,
}

macro_rules! common {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$doc])* pub(super) const $name: &str = $text;)+

        /// Each statement that is the same on both engines, with its name.
        pub(super) const COMMON: &[(&str, &str)] = &[$((stringify!($name), $name),)+];
    };
}

macro_rules! event_columns {
    () => {
        "seq, id, type, service, uaid, trust, source_ip, received_at, duplicates"
    };
}
macro_rules! endpoint_columns {
    () => {
        "id, name, url, secret, types, services, format, expected_only, enabled, disabled_reason, declared, created_at"
    };
}

common! {
    /// The newest cursor. On PostgreSQL everything up to it is visible, since appending happens under a lock.
    HEAD = "SELECT COALESCE(MAX(seq), 0) AS seq FROM events";
    EVENT = concat!("SELECT ", event_columns!(), " FROM events WHERE id = $1");
    /// Everything of an endpoint but when and whether it was declared before.
    DECLARE = "INSERT INTO endpoints \
            (id, name, url, secret, types, services, format, expected_only, enabled, declared, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, TRUE, TRUE, $9) \
        ON CONFLICT (name) DO UPDATE SET \
            url = excluded.url, secret = excluded.secret, types = excluded.types, services = excluded.services, \
            format = excluded.format, expected_only = excluded.expected_only, declared = TRUE, \
            enabled = CASE WHEN endpoints.disabled_reason = $10 THEN TRUE ELSE endpoints.enabled END, \
            disabled_reason = \
                CASE WHEN endpoints.disabled_reason = $10 THEN NULL ELSE endpoints.disabled_reason END";
    ENDPOINTS = concat!("SELECT ", endpoint_columns!(), " FROM endpoints ORDER BY name");
    DUE = concat!(
        "SELECT ", endpoint_columns!(), ", due_at FROM \
            (SELECT e.*, (SELECT MIN(d.due_at) FROM deliveries d \
                WHERE d.endpoint_id = e.id AND d.due_at IS NOT NULL) AS due_at \
            FROM endpoints e WHERE e.enabled) AS open \
        WHERE due_at IS NOT NULL ORDER BY due_at, id"
    );
    PENDING = "SELECT COUNT(*) AS open FROM deliveries WHERE due_at IS NOT NULL";
    RELEASE_ALL = "UPDATE deliveries SET due_at = $1, lease_token = NULL WHERE due_at IS NOT NULL AND lease_token IS NOT NULL";
    PROBE = "UPDATE probe SET at = $1 WHERE id = 1";
}

/// New events out of $1, one JSON array each, sorted by their key. One that is there already only counts how often it
/// came.
macro_rules! insert_events {
    ($from:literal, $uaid:literal) => {
        concat!(
            "INSERT INTO events (id, type, service, uaid, trust, source_ip, received_at, duplicates) \
            SELECT value->>0, value->>1, value->>2, ", $uaid, ", value->>4, value->>5, \
                CAST(value->>6 AS BIGINT), CAST(value->>7 AS BIGINT) \
            FROM ", $from, " \
            ON CONFLICT (uaid, type, service) DO UPDATE SET duplicates = events.duplicates + 1 + excluded.duplicates \
            RETURNING seq, id, type, service, uaid"
        )
    };
}

/// What new events (e) owe: one delivery to each endpoint (p) that wants them. Leased by $4 until $3, if there is a $4
/// and the endpoint is not among $5; due at $2 otherwise.
/// Nothing can be expected yet, so an endpoint that wants only what was expected gets nothing.
/// No own event is ever sent to an endpoint that understands only RemAuth's three parameters.
macro_rules! insert_deliveries {
    ($new:literal, $any_of_types:literal, $any_of_services:literal, $list5:literal) => {
        concat!(
            "INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at, lease_token) \
            SELECT seq, endpoint_id, CAST($2 AS BIGINT), \
                CASE WHEN leased THEN CAST($3 AS BIGINT) ELSE CAST($2 AS BIGINT) END, \
                CASE WHEN leased THEN CAST($4 AS TEXT) END \
            FROM (SELECT e.seq, p.id AS endpoint_id, \
                    CAST($4 AS TEXT) IS NOT NULL AND p.id NOT IN (", $list5, ") AS leased \
                FROM ", $new, " JOIN endpoints p ON p.enabled AND NOT p.expected_only \
                    AND ((p.types = '[]' AND e.type LIKE 'remauth.%') OR ", $any_of_types, ") \
                    AND (p.services = '[]' OR ", $any_of_services, ") \
                    AND (p.format <> 'remauth' OR e.type IN \
                        ('remauth.authenticated', 'remauth.registricated', 'remauth.subscribed'))) AS owed"
        )
    };
}

macro_rules! endpoints_named {
    ($list1:literal) => {
        concat!("SELECT ", endpoint_columns!(), " FROM endpoints WHERE id IN (", $list1, ")")
    };
}

/// A page of events: $1 the cursor, $2 the newest cursor, $3 types, $4 services, $5 since, $6 until, $7 how many.
macro_rules! page_of_events {
    ($list3:literal, $list4:literal, $and:literal, $after:literal, $order:literal) => {
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
            AND (CAST($6 AS BIGINT) IS NULL OR received_at < CAST($6 AS BIGINT)) ",
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

/// Ends leases. Each row: delivery, token, state, whether it counts as an attempt, next due time, settled time, then
/// what the attempt saw (when, status, error, milliseconds, response).
macro_rules! settle {
    ($rows:literal) => {
        concat!(
            "UPDATE deliveries SET state = v.state, attempt_count = attempt_count + v.attempts, due_at = v.due_at, \
                settled_at = v.settled_at, lease_token = NULL \
            FROM (SELECT CAST(value->>0 AS BIGINT) AS seq, value->>1 AS token, value->>2 AS state, \
                    CAST(value->>3 AS BIGINT) AS attempts, CAST(value->>4 AS BIGINT) AS due_at, \
                    CAST(value->>5 AS BIGINT) AS settled_at FROM ", $rows, ") AS v \
            WHERE deliveries.seq = v.seq AND deliveries.lease_token = v.token AND deliveries.due_at IS NOT NULL"
        )
    };
}

macro_rules! record_attempts {
    ($rows:literal) => {
        concat!(
            "INSERT INTO attempts (delivery_seq, at, status, error, elapsed_ms, response) \
            SELECT d.seq, CAST(value->>6 AS BIGINT), CAST(value->>7 AS BIGINT), value->>8, \
                CAST(value->>9 AS BIGINT), value->>10 \
            FROM ",
            $rows,
            " JOIN deliveries d ON d.seq = CAST(value->>0 AS BIGINT) \
            WHERE value->>6 IS NOT NULL"
        )
    };
}

macro_rules! undeclare {
    ($list1:literal) => {
        concat!(
            "UPDATE endpoints SET declared = FALSE, enabled = FALSE, \
                disabled_reason = CASE WHEN enabled THEN $2 ELSE disabled_reason END \
            WHERE declared AND name NOT IN (",
            $list1,
            ")"
        )
    };
}

pub(super) const SQLITE: Dialect = Dialect {
    // One round trip to the thread that runs SQLite: a transaction, and the rows of both statements. When it breaks off
    // half-way, its connection is closed.
    append: concat!(
        "BEGIN IMMEDIATE; ",
        insert_events!("json_each($1) WHERE TRUE", "unhex(value->>3)"),
        ", NULL AS delivery, NULL AS endpoint_id, NULL AS lease_token; ",
        insert_deliveries!(
            "json_each($1) JOIN events e ON e.id = value->>0",
            "e.type IN (SELECT t.value FROM json_each(p.types) AS t)",
            "e.service IN (SELECT s.value FROM json_each(p.services) AS s)",
            "SELECT value FROM json_each($5)"
        ),
        " RETURNING event_seq AS seq, NULL AS id, NULL AS type, NULL AS service, NULL AS uaid, seq AS delivery, \
            endpoint_id, lease_token; \
        COMMIT"
    ),
    events_after: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "",
        ">",
        "ASC"
    ),
    events_before: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "",
        "<",
        "DESC"
    ),
    events_after_of_uaid: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "AND uaid = $8",
        ">",
        "ASC"
    ),
    events_before_of_uaid: page_of_events!(
        "SELECT value FROM json_each($3)",
        "SELECT value FROM json_each($4)",
        "AND uaid = $8",
        "<",
        "DESC"
    ),
    events_by_seq: events_by_seq!("SELECT value FROM json_each($1)"),
    claim: "UPDATE deliveries SET due_at = $4, lease_token = $5 \
        WHERE seq IN (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at <= $2 \
            ORDER BY due_at, seq LIMIT $3) \
        RETURNING seq, event_seq, attempt_count, replay",
    settle: settle!("json_each($1)"),
    record_attempts: record_attempts!("json_each($1)"),
    undeclare: undeclare!("SELECT value FROM json_each($1)"),
    endpoints_named: endpoints_named!("SELECT value FROM json_each($1)"),
};

/// `MATERIALIZED`, because a subquery with SKIP LOCKED that is run twice claims twice.
pub(super) const POSTGRES: Dialect = Dialect {
    // One statement, which is a transaction by itself and one round trip. A sequence alone would let a later number
    // become visible before an earlier one, and a reader that passed it would never see the earlier. So no row gets its
    // number before the gate is passed, and the lock behind it is given back only when the commit has become visible.
    // Its number is arbitrary and remgate's own. The announcement goes out with the commit, one for the whole group; $6 says
    // whose it is.
    // `xmax` is 0 in a row version that this statement made and not in one that it changed.
    append: concat!(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock(8241996507418201) AS passed, pg_notify('remgate', $6)), \
        stored AS (",
        insert_events!(
            "gate, jsonb_array_elements(CAST($1 AS jsonb)) AS j(value) WHERE gate.passed IS NOT NULL",
            "decode(value->>3, 'hex')"
        ),
        ", xmax = 0 AS new), owed AS (",
        insert_deliveries!(
            "(SELECT * FROM stored WHERE new) AS e",
            "jsonb_exists(CAST(p.types AS jsonb), e.type)",
            "jsonb_exists(CAST(p.services AS jsonb), e.service)",
            "SELECT json_array_elements_text(CAST($5 AS json))"
        ),
        " RETURNING event_seq, seq, endpoint_id, lease_token) \
        SELECT seq, id, type, service, uaid, NULL AS delivery, NULL AS endpoint_id, NULL AS lease_token FROM stored \
        UNION ALL \
        SELECT event_seq, NULL, NULL, NULL, NULL, seq, endpoint_id, lease_token FROM owed"
    ),
    events_after: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "",
        ">",
        "ASC"
    ),
    events_before: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "",
        "<",
        "DESC"
    ),
    events_after_of_uaid: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "AND uaid = $8",
        ">",
        "ASC"
    ),
    events_before_of_uaid: page_of_events!(
        "SELECT json_array_elements_text(CAST($3 AS json))",
        "SELECT json_array_elements_text(CAST($4 AS json))",
        "AND uaid = $8",
        "<",
        "DESC"
    ),
    events_by_seq: events_by_seq!("SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)"),
    claim: "WITH picked AS MATERIALIZED (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at <= $2 \
            ORDER BY due_at, seq LIMIT $3 FOR UPDATE SKIP LOCKED) \
        UPDATE deliveries SET due_at = $4, lease_token = $5 FROM picked WHERE deliveries.seq = picked.seq \
        RETURNING deliveries.seq, event_seq, attempt_count, replay",
    settle: settle!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    record_attempts: record_attempts!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    undeclare: undeclare!("SELECT json_array_elements_text(CAST($1 AS json))"),
    endpoints_named: endpoints_named!("SELECT json_array_elements_text(CAST($1 AS json))"),
};
