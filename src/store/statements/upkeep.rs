//! Statements of maintenance.

common! {
    PROBE = "UPDATE probe SET at = $1 WHERE id = 1";
}
