//! Statements about the audit log.

dialect! { record, end, entries_after, entries_before, entries_after_of_whom, entries_before_of_whom }

macro_rules! entry_columns {
    () => {
        "seq, id, at, who_id, who_name, action, whom, outcome, detail, finished_at, request_id"
    };
}

common! {
    /// The newest cursor. On PostgreSQL everything up to it is visible, since entries are begun under a lock.
    AUDIT_HEAD = "SELECT COALESCE(MAX(seq), 0) AS seq FROM audit";
    /// Deletes at most $2 entries begun before $1.
    FORGET_ENTRIES =
        "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
}

/// Entries out of $1, one JSON array each.
macro_rules! record {
    ($from:literal) => {
        concat!(
            "INSERT INTO audit (id, at, who_id, who_name, action, whom, request_id) \
            SELECT value->>0, CAST(value->>1 AS BIGINT), value->>2, value->>3, value->>4, value->>5, value->>6 FROM ",
            $from
        )
    };
}

/// Ends entries out of $1, one JSON array each. What has an end keeps it.
macro_rules! end {
    ($from:literal) => {
        concat!(
            "UPDATE audit SET outcome = value->>1, detail = value->>2, finished_at = CAST(value->>3 AS BIGINT) FROM ",
            $from,
            " WHERE audit.id = value->>0 AND audit.finished_at IS NULL"
        )
    };
}

/// A page of entries: $1 the cursor, $2 the newest cursor, $3 actions, $4 outcomes, $5 who, $6 since, $7 until, $8 how
/// many.
macro_rules! page_of_entries {
    ($list3:literal, $list4:literal, $and:literal, $after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            entry_columns!(),
            " FROM audit WHERE seq ",
            $after,
            " $1 AND seq <= $2 \
            AND (CAST($3 AS TEXT) = '[]' OR action IN (",
            $list3,
            ")) \
            AND (CAST($4 AS TEXT) = '[]' OR outcome IN (",
            $list4,
            ")) \
            AND (CAST($5 AS TEXT) IS NULL OR who_id = CAST($5 AS TEXT) OR who_name = CAST($5 AS TEXT)) \
            AND (CAST($6 AS BIGINT) IS NULL OR at >= CAST($6 AS BIGINT)) \
            AND (CAST($7 AS BIGINT) IS NULL OR at < CAST($7 AS BIGINT)) ",
            $and,
            " ORDER BY seq ",
            $order,
            " LIMIT $8"
        )
    };
}

macro_rules! pages_of_entries {
    ($list3:literal, $list4:literal, $record:expr, $end:expr) => {
        Texts {
            record: $record,
            end: $end,
            entries_after: page_of_entries!($list3, $list4, "", ">", "ASC"),
            entries_before: page_of_entries!($list3, $list4, "", "<", "DESC"),
            entries_after_of_whom: page_of_entries!($list3, $list4, "AND whom = $9", ">", "ASC"),
            entries_before_of_whom: page_of_entries!($list3, $list4, "AND whom = $9", "<", "DESC"),
        }
    };
}

pub(in crate::store) const SQLITE: Texts = pages_of_entries!(
    "SELECT value FROM json_each($3)",
    "SELECT value FROM json_each($4)",
    record!("json_each($1) WHERE TRUE ORDER BY key"),
    end!("json_each($1)")
);

// As with events: no entry gets its number before the gate is passed, so that a reader who follows cursors misses none.
// The lock's number is arbitrary and remgate's own.
pub(in crate::store) const POSTGRES: Texts = pages_of_entries!(
    "SELECT json_array_elements_text(CAST($3 AS json))",
    "SELECT json_array_elements_text(CAST($4 AS json))",
    concat!(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock(8241996507418206) AS passed) ",
        record!(
            "gate, jsonb_array_elements(CAST($1 AS jsonb)) WITH ORDINALITY AS j(value, place) \
            WHERE gate.passed IS NOT NULL ORDER BY place"
        )
    ),
    end!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)")
);
