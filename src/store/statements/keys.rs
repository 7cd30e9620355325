//! Statements about API keys.

macro_rules! key_columns {
    () => {
        "id, name, scopes, service, expires_at, created_at, last_used_at"
    };
}

common! {
    ADD_KEY = "INSERT INTO keys (id, name, digest, scopes, admin, service, expires_at, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    KEYS = concat!("SELECT ", key_columns!(), " FROM keys ORDER BY created_at, id");
    KEY = concat!("SELECT ", key_columns!(), " FROM keys WHERE id = $1");
    /// One row in any case: whether admin keys exist, and the key with the digest $1, if there is one.
    PRESENTED_KEY = "SELECT EXISTS (SELECT 1 FROM keys WHERE admin) AS locked, \
            k.id, k.name, k.scopes, k.service, k.expires_at, k.created_at, k.last_used_at \
        FROM (SELECT 1 AS one) AS asked LEFT JOIN keys k ON k.digest = $1";
    ADMIN_KEYS = "SELECT id, expires_at FROM keys WHERE admin ORDER BY id";
    /// Changes nothing, and holds every admin key until the transaction ends: whether one of them is the last is decided
    /// by one transaction at a time.
    HOLD_ADMIN_KEYS = "UPDATE keys SET admin = TRUE WHERE admin";
    REMOVE_KEY = "DELETE FROM keys WHERE id = $1";
    USE_KEY = "UPDATE keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
}
