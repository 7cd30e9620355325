//! Statements of maintenance.

common! {
    PROBE = "UPDATE probe SET at = $1 WHERE id = 1";
    /// Newest time that was written.
    NEWEST_TIME = "SELECT (SELECT received_at FROM events ORDER BY seq DESC LIMIT 1) AS event, \
        (SELECT at FROM attempts ORDER BY seq DESC LIMIT 1) AS attempt, (SELECT at FROM probe WHERE id = 1) AS probe";
    /// Leases that end after $1.
    CLAMP_LEASES = "UPDATE deliveries SET due_at = $1 WHERE due_at > $1 AND lease_token IS NOT NULL";
    /// Deliveries that were never attempted are due at once; $1 now.
    CLAMP_NEW = "UPDATE deliveries SET due_at = $1 WHERE due_at > $1 AND lease_token IS NULL AND attempt_count = 0";
    /// Deliveries whose last attempt was after $2 keep the time from that attempt to the next one; $1 now.
    CLAMP_RETRIES = "UPDATE deliveries SET due_at = CAST($1 AS BIGINT) + due_at - \
            (SELECT MAX(a.at) FROM attempts a WHERE a.delivery_seq = deliveries.seq) \
        WHERE due_at > $1 AND lease_token IS NULL AND attempt_count > 0 \
            AND (SELECT MAX(a.at) FROM attempts a WHERE a.delivery_seq = deliveries.seq) \
                BETWEEN CAST($2 AS BIGINT) AND due_at";
    /// Probes of endpoints that are held back, until $1 at most.
    CLAMP_PROBES = "UPDATE endpoints SET probe_at = $1 WHERE probe_at > $1";
    /// Stretches of failures that began after $1 begin at $1.
    CLAMP_FAILURES = "UPDATE endpoints SET failing_since = $1, last_failure_at = $1 WHERE failing_since > $1";
    /// Invitations that were requested after $1, or are due after $2, are due at $1.
    CLAMP_INVITATIONS = "UPDATE provisionings SET due_at = $1 WHERE due_at > $1 AND (created_at > $1 OR due_at > $2)";
    /// Expectations that were stored after $2 keep their length; $1 now.
    CLAMP_EXPECTATIONS = "UPDATE authentications SET watch_until = CAST($1 AS BIGINT) + expires_at - expected_at, \
            expires_at = CAST($1 AS BIGINT) + expires_at - expected_at, expected_at = CAST($1 AS BIGINT) \
        WHERE watch_until IS NOT NULL AND expected_at > $2";
}
