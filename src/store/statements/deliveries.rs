//! Statements about deliveries: due ones, leases, results.

use super::endpoints::endpoint_columns;

dialect! { claim, settle, count_attempts, record_attempts }

common! {
    DUE = concat!(
        "SELECT ", endpoint_columns!(), ", due_at FROM \
            (SELECT e.*, (SELECT MIN(d.due_at) FROM deliveries d \
                WHERE d.endpoint_id = e.id AND d.due_at IS NOT NULL) AS due_at \
            FROM endpoints e WHERE e.enabled) AS open \
        WHERE due_at IS NOT NULL ORDER BY due_at, id"
    );
    /// Moves the time of the next probe of an endpoint. The process that moves it sends the probe.
    PROBE_ENDPOINT = "UPDATE endpoints SET probe_at = $2 WHERE id = $1 AND probe_at <= $3 AND enabled";
    PENDING = "SELECT COUNT(*) AS open FROM deliveries WHERE due_at IS NOT NULL";
    RELEASE_ALL = "UPDATE deliveries SET due_at = $1, lease_token = NULL WHERE due_at IS NOT NULL AND lease_token IS NOT NULL";
}

/// Ends leases. Each row: delivery, token, state, whether it counts as an attempt, next due time, settled time, then
/// the result of the attempt (begin, status, error, milliseconds, response).
macro_rules! settle {
    ($rows:literal) => {
        concat!(
            "UPDATE deliveries SET state = v.state, attempt_count = attempt_count + v.attempts, due_at = v.due_at, \
                settled_at = v.settled_at, lease_token = NULL \
            FROM (SELECT CAST(value->>0 AS BIGINT) AS seq, value->>1 AS token, value->>2 AS state, \
                    CAST(value->>3 AS BIGINT) AS attempts, CAST(value->>4 AS BIGINT) AS due_at, \
                    CAST(value->>5 AS BIGINT) AS settled_at FROM ", $rows, ") AS v \
            WHERE deliveries.seq = v.seq AND deliveries.lease_token = v.token AND deliveries.due_at IS NOT NULL \
            RETURNING deliveries.seq"
        )
    };
}

/// Counts the attempts of lost leases: they were made, whatever was decided since.
macro_rules! count_attempts {
    ($rows:literal) => {
        concat!(
            "UPDATE deliveries SET attempt_count = attempt_count + v.attempts \
            FROM (SELECT CAST(value->>0 AS BIGINT) AS seq, CAST(value->>3 AS BIGINT) AS attempts FROM ",
            $rows,
            ") AS v WHERE deliveries.seq = v.seq"
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

pub(in crate::store) const SQLITE: Texts = Texts {
    claim: "UPDATE deliveries SET due_at = $4, lease_token = $5 \
        WHERE seq IN (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at <= $2 \
            ORDER BY due_at, seq LIMIT $3) \
        RETURNING seq, event_seq, attempt_count, attempts_before, replay, offered",
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
    settle: settle!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    count_attempts: count_attempts!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
    record_attempts: record_attempts!("jsonb_array_elements(CAST($1 AS jsonb)) AS j(value)"),
};
