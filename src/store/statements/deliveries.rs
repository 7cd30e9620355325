//! Statements about deliveries: due ones, leases, results.

use super::endpoints::endpoint_columns;

dialect! { claim, probe_endpoint, lock_deliveries, existing_deliveries, settle_leased, settle, count_attempts, record_attempts }

common! {
    DUE = concat!(
        "SELECT ", endpoint_columns!(), ", due_at FROM \
            (SELECT e.*, (SELECT MIN(d.due_at) FROM deliveries d \
                WHERE d.endpoint_id = e.id AND d.due_at IS NOT NULL) AS due_at \
            FROM endpoints e WHERE e.enabled) AS open \
        WHERE due_at IS NOT NULL ORDER BY due_at, id"
    );
    PENDING = "SELECT COUNT(*) AS open FROM deliveries WHERE due_at IS NOT NULL";
    RELEASE_ALL = "UPDATE deliveries SET due_at = $1, lease_token = NULL WHERE due_at IS NOT NULL AND lease_token IS NOT NULL";
}

/// Moves the time of the next probe of an endpoint. The process that moves it sends the probe. A row that another
/// transaction holds is skipped where the engine has such rows.
macro_rules! probe_endpoint {
    ($lock:literal) => {
        concat!(
            "UPDATE endpoints SET probe_at = $2 WHERE id IN \
                (SELECT id FROM endpoints WHERE id = $1 AND probe_at <= $3 AND enabled",
            $lock,
            ")"
        )
    };
}

/// Reads deliveries by their numbers and locks their rows until the transaction ends, but for rows that another transaction
/// holds.
macro_rules! lock_deliveries {
    ($list1:literal, $lock:literal) => {
        concat!(
            "SELECT seq, lease_token, due_at IS NOT NULL AS open FROM deliveries WHERE seq IN (",
            $list1,
            ")",
            $lock
        )
    };
}

/// Ends leases that are still held, and returns the numbers of their deliveries.
macro_rules! settle_leased {
    ($rows:literal) => {
        concat!(
            settle!($rows),
            " AND deliveries.lease_token = v.token AND deliveries.due_at IS NOT NULL RETURNING deliveries.seq"
        )
    };
}

/// Ends leases of locked rows.
macro_rules! settle {
    ($rows:literal) => {
        concat!(
            "UPDATE deliveries SET state = v.state, attempt_count = attempt_count + v.attempts, due_at = v.due_at, \
                settled_at = v.settled_at, lease_token = NULL \
            FROM (SELECT CAST(value->>'seq' AS BIGINT) AS seq, value->>'token' AS token, value->>'state' AS state, \
                    CAST(value->>'attempts' AS BIGINT) AS attempts, CAST(value->>'due_at' AS BIGINT) AS due_at, \
                    CAST(value->>'settled_at' AS BIGINT) AS settled_at FROM ", $rows, ") AS v \
            WHERE deliveries.seq = v.seq"
        )
    };
}

/// Counts the attempts of lost leases: they were made, whatever was decided since.
macro_rules! count_attempts {
    ($rows:literal) => {
        concat!(
            "UPDATE deliveries SET attempt_count = attempt_count + v.attempts \
            FROM (SELECT CAST(value->>'seq' AS BIGINT) AS seq, CAST(value->>'attempts' AS BIGINT) AS attempts FROM ",
            $rows,
            ") AS v WHERE deliveries.seq = v.seq"
        )
    };
}

macro_rules! record_attempts {
    ($rows:literal) => {
        concat!(
            "INSERT INTO attempts (delivery_seq, at, status, error, elapsed_ms, response) \
            SELECT CAST(value->>'delivery' AS BIGINT), CAST(value->>'at' AS BIGINT), \
                CAST(value->>'status' AS BIGINT), value->>'error', CAST(value->>'elapsed_ms' AS BIGINT), \
                value->>'response' \
            FROM ",
            $rows
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    claim: "UPDATE deliveries SET due_at = $4, lease_token = $5 \
        WHERE seq IN (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at <= $2 \
            ORDER BY due_at, seq LIMIT $3) \
        RETURNING seq, event_seq, attempt_count, attempts_before, replay, offered",
    probe_endpoint: probe_endpoint!(""),
    lock_deliveries: lock_deliveries!("SELECT value FROM json_each($1)", ""),
    existing_deliveries: lock_deliveries!("SELECT value FROM json_each($1)", ""),
    settle_leased: settle_leased!("json_each($1)"),
    settle: settle!("json_each($1)"),
    count_attempts: count_attempts!("json_each($1)"),
    record_attempts: record_attempts!("json_each($1)"),
};

/// `MATERIALIZED`, because a subquery with SKIP LOCKED that is run twice claims twice.
pub(in crate::store) const POSTGRES: Texts = Texts {
    claim: "WITH picked AS MATERIALIZED (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at <= $2 \
            ORDER BY due_at, seq LIMIT $3 FOR UPDATE SKIP LOCKED) \
        UPDATE deliveries SET due_at = $4, lease_token = $5 FROM picked WHERE deliveries.seq = picked.seq \
        RETURNING deliveries.seq, event_seq, attempt_count, attempts_before, replay, offered",
    probe_endpoint: probe_endpoint!(" FOR UPDATE SKIP LOCKED"),
    lock_deliveries: lock_deliveries!(
        "SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)",
        " FOR UPDATE SKIP LOCKED"
    ),
    existing_deliveries: lock_deliveries!(
        "SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT)",
        ""
    ),
    settle_leased: settle_leased!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    settle: settle!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    count_attempts: count_attempts!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    record_attempts: record_attempts!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
};
