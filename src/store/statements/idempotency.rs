//! Statements about requests that must not be done twice.

common! {
    /// $1 scope, $2 key, $3 fingerprint, $4 now. A row from before $5 is replaced, and the same request that began
    /// before $6 without an end begins again. No row changed: the key is in use.
    BEGIN_REQUEST = "INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, body = NULL, \
            created_at = excluded.created_at \
        WHERE idempotency.created_at <= $5 OR (idempotency.status IS NULL AND idempotency.created_at <= $6 \
            AND idempotency.fingerprint = excluded.fingerprint)";
    BEGUN_REQUEST = "SELECT fingerprint, status, body FROM idempotency WHERE scope = $1 AND key = $2";
    FINISH_REQUEST = "UPDATE idempotency SET status = $4, body = $5 \
        WHERE scope = $1 AND key = $2 AND created_at = $3 AND status IS NULL";
    FORGET_REQUEST = "DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND created_at = $3 AND status IS NULL";
    FORGET_OLD_REQUESTS = "DELETE FROM idempotency WHERE (scope, key) IN \
        (SELECT scope, key FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT 100)";
}
