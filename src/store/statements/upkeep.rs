//! Statements of the store's own well-being.

common! {
    PROBE = "UPDATE probe SET at = $1 WHERE id = 1";
}
