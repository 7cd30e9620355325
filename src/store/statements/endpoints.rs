//! Statements about endpoints.

dialect! { undeclare, endpoints_named }

/// What somebody decides about an endpoint, in the order in which it is bound: 13 columns.
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
        rate_limit, signing_key, previous_secret, previous_secret_until, failures, failing_since, probe_at, enabled, \
        disabled_reason, declared, created_at"
    };
}
pub(super) use endpoint_columns;

common! {
    /// Everything of an endpoint but when and whether it was declared before. One that a rule disabled gets another
    /// chance when it has moved.
    DECLARE = concat!(
        "INSERT INTO endpoints (id, ", settings_columns!(), ", enabled, declared, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, TRUE, TRUE, $15) \
        ON CONFLICT (name) DO UPDATE SET \
            url = excluded.url, secret = excluded.secret, types = excluded.types, services = excluded.services, \
            format = excluded.format, expected_only = excluded.expected_only, headers = excluded.headers, \
            schedule = excluded.schedule, timeout = excluded.timeout, max_in_flight = excluded.max_in_flight, \
            rate_limit = excluded.rate_limit, signing_key = excluded.signing_key, declared = TRUE, \
            previous_secret = NULL, previous_secret_until = NULL, \
            enabled = endpoints.enabled OR endpoints.disabled_reason = $16 OR endpoints.url <> excluded.url, \
            disabled_reason = CASE WHEN endpoints.disabled_reason = $16 OR endpoints.url <> excluded.url THEN NULL \
                ELSE endpoints.disabled_reason END"
    );
    ENDPOINTS = concat!("SELECT ", endpoint_columns!(), " FROM endpoints ORDER BY name");
}

macro_rules! endpoints_named {
    ($list1:literal) => {
        concat!("SELECT ", endpoint_columns!(), " FROM endpoints WHERE id IN (", $list1, ")")
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

pub(in crate::store) const SQLITE: Dialect = Dialect {
    undeclare: undeclare!("SELECT value FROM json_each($1)"),
    endpoints_named: endpoints_named!("SELECT value FROM json_each($1)"),
};

pub(in crate::store) const POSTGRES: Dialect = Dialect {
    undeclare: undeclare!("SELECT json_array_elements_text(CAST($1 AS json))"),
    endpoints_named: endpoints_named!("SELECT json_array_elements_text(CAST($1 AS json))"),
};
