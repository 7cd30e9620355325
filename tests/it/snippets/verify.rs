use http::HeaderMap;
use standardwebhooks::{Webhook, WebhookError};

/// Whether remgate sent these bytes, not more than five minutes ago.
pub fn verify(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookError> {
    Webhook::new(secret)?.verify(body, headers)
}
