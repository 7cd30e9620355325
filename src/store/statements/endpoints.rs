//! Statements about endpoints.

dialect! { lock_free_endpoint, undeclare, endpoints_named, cancel_open, wait_for_appends }

/// Settings of an endpoint in the order in which they are bound: 13 columns.
macro_rules! settings_columns {
    () => {
        "name, url, secret, types, services, format, expected_only, headers, schedule, timeout, max_in_flight, \
        rate_limit, signing_key"
    };
}

/// Every column.
macro_rules! endpoint_columns {
    () => {
        "id, name, url, secret, types, services, format, expected_only, headers, schedule, timeout, max_in_flight, \
        rate_limit, signing_key, previous_secret, previous_secret_until, failures, failing_since, last_failure_at, probe_at, enabled, \
        disabled_reason, declared, undeclared, created_at"
    };
}
pub(super) use endpoint_columns;

common! {
    /// Declares an endpoint. One that a rule disabled is enabled again if its URL has changed.
    DECLARE = concat!(
        "INSERT INTO endpoints (id, ", settings_columns!(), ", enabled, declared, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, TRUE, TRUE, $15) \
        ON CONFLICT (name) DO UPDATE SET \
            url = excluded.url, secret = excluded.secret, types = excluded.types, services = excluded.services, \
            format = excluded.format, expected_only = excluded.expected_only, headers = excluded.headers, \
            schedule = excluded.schedule, timeout = excluded.timeout, max_in_flight = excluded.max_in_flight, \
            rate_limit = excluded.rate_limit, signing_key = excluded.signing_key, declared = TRUE, \
            undeclared = FALSE, previous_secret = NULL, previous_secret_until = NULL, \
            enabled = endpoints.enabled OR endpoints.disabled_reason = $16 OR endpoints.url <> excluded.url, \
            disabled_reason = CASE WHEN endpoints.disabled_reason = $16 OR endpoints.url <> excluded.url THEN NULL \
                ELSE endpoints.disabled_reason END"
    );
    /// Creates an endpoint by request. No row: the name is taken.
    CREATE = concat!(
        "INSERT INTO endpoints (id, ", settings_columns!(), ", enabled, declared, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, TRUE, FALSE, $15) \
        ON CONFLICT (name) DO NOTHING"
    );
    /// Reads an endpoint and locks its row until the transaction ends. A write locks the row on every engine.
    LOCK_ENDPOINT = concat!("UPDATE endpoints SET id = id WHERE id = $1 RETURNING ", endpoint_columns!());
    /// Writes the whole row of a locked endpoint, but for its origin.
    UPDATE_ENDPOINT = "UPDATE endpoints SET name = $2, url = $3, secret = $4, types = $5, services = $6, format = $7, \
        expected_only = $8, headers = $9, schedule = $10, timeout = $11, max_in_flight = $12, rate_limit = $13, \
        signing_key = $14, previous_secret = $15, previous_secret_until = $16, failures = $17, failing_since = $18, \
        last_failure_at = $19, probe_at = $20, enabled = $21, disabled_reason = $22 WHERE id = $1";
    REMOVE = "DELETE FROM endpoints WHERE id = $1 AND NOT EXISTS \
        (SELECT 1 FROM deliveries d WHERE d.endpoint_id = $1 AND d.due_at IS NOT NULL)";
    /// Open deliveries of removed endpoints.
    CANCEL_ORPHANS = "UPDATE deliveries SET state = 'cancelled', settled_at = $1, due_at = NULL, lease_token = NULL \
        WHERE due_at IS NOT NULL AND endpoint_id NOT IN (SELECT id FROM endpoints)";
    ENDPOINTS = concat!("SELECT ", endpoint_columns!(), " FROM endpoints ORDER BY name");
}

/// Reads an endpoint and locks its row until the transaction ends, unless another transaction holds it.
macro_rules! lock_free_endpoint {
    ($lock:literal) => {
        concat!("SELECT ", endpoint_columns!(), " FROM endpoints WHERE id = $1", $lock)
    };
}

macro_rules! endpoints_named {
    ($list1:literal) => {
        concat!("SELECT ", endpoint_columns!(), " FROM endpoints WHERE id IN (", $list1, ")")
    };
}

macro_rules! undeclare {
    ($list1:literal) => {
        concat!(
            "UPDATE endpoints SET declared = FALSE, undeclared = TRUE, enabled = FALSE, \
                disabled_reason = CASE WHEN enabled THEN $2 ELSE disabled_reason END \
            WHERE declared AND name NOT IN (",
            $list1,
            ")"
        )
    };
}

/// Cancels some open deliveries of endpoint $1, so that other writers do not wait long. Rows that are being settled
/// are skipped where the engine can.
macro_rules! cancel_open {
    ($lock:literal) => {
        concat!(
            "UPDATE deliveries SET state = 'cancelled', settled_at = $2, due_at = NULL, lease_token = NULL \
            WHERE seq IN (SELECT seq FROM deliveries WHERE endpoint_id = $1 AND due_at IS NOT NULL LIMIT 5000",
            $lock,
            ")"
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    cancel_open: cancel_open!(""),
    // SQLite has one writer, which waits for all before it.
    wait_for_appends: "SELECT 1",
    lock_free_endpoint: lock_free_endpoint!(""),
    undeclare: undeclare!("SELECT value FROM json_each($1)"),
    endpoints_named: endpoints_named!("SELECT value FROM json_each($1)"),
};

pub(in crate::store) const POSTGRES: Texts = Texts {
    cancel_open: cancel_open!(" FOR UPDATE SKIP LOCKED"),
    // The lock that every append holds until its commit.
    wait_for_appends: "SELECT pg_advisory_xact_lock(8241996507418201)",
    lock_free_endpoint: lock_free_endpoint!(" FOR UPDATE SKIP LOCKED"),
    undeclare: undeclare!("SELECT json_array_elements_text(CAST($1 AS json))"),
    endpoints_named: endpoints_named!("SELECT json_array_elements_text(CAST($1 AS json))"),
};
