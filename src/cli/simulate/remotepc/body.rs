//! Body of a request, read as loosely as upstream reads it.

use serde_json::Value;

/// One object of a request. Its `Debug` shows nothing: it may hold a password.
pub(super) struct RequestBody(Value);

impl RequestBody {
    /// The one object of a body.
    pub(super) fn one(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().filter(Value::is_object).map(Self)
    }

    /// The objects of a body that is a list with at least one.
    pub(super) fn list(body: &[u8]) -> Option<Vec<Self>> {
        let list: Vec<Value> = serde_json::from_slice(body).ok()?;
        (!list.is_empty() && list.iter().all(Value::is_object)).then(|| list.into_iter().map(Self).collect())
    }

    /// A field's text; nothing when it is not there or not a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A field's number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Said(..)")
    }
}
