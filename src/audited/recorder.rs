//! Writes down what is done before it is done, and what came of it afterwards.

use serde_json::Value;

use super::actor::RequestActor;
use crate::context::Context;
use crate::domain::{AuditEnd, AuditId, NewAuditEntry, named};
use crate::store::StoreError;

/// Writer of audit entries.
#[derive(Clone)]
pub struct AuditRecorder(pub Context);

/// Outcome of an action: one word, and its facts as a JSON object. Never holds a password, a key or a link.
#[derive(Debug, Clone)]
pub struct ActionOutcome {
    /// The word.
    pub outcome: &'static str,
    /// The facts.
    pub detail: Option<Value>,
}

/// Entries that were begun and have no end yet. Dropped, they stay `unknown`.
pub struct OpenEntries {
    trail: AuditRecorder,
    ids: Vec<AuditId>,
}

impl AuditRecorder {
    /// Begins an entry for each user, or one without a user. The action must not be done when this fails.
    pub async fn begin(
        &self,
        actor: &RequestActor,
        action: &'static str,
        whom: &[String],
    ) -> Result<OpenEntries, StoreError> {
        let Context { store, clock, rng, .. } = &self.0;
        let now = clock.now();
        let entry = |whom: Option<&String>| NewAuditEntry {
            id: AuditId::new(now, rng),
            at: now,
            who: actor.who.clone(),
            action,
            whom: whom.map(|whom| named(whom)),
            request_id: actor.request_id.clone(),
        };
        let entries: Vec<_> = match whom {
            [] => vec![entry(None)],
            all => all.iter().map(|user| entry(Some(user))).collect(),
        };
        store.begin_entries(&entries).await?;
        Ok(OpenEntries { trail: self.clone(), ids: entries.into_iter().map(|entry| entry.id).collect() })
    }
}

impl OpenEntries {
    /// Ends all of them alike.
    pub async fn end(self, end: &ActionOutcome) {
        let ends = vec![end.clone(); self.ids.len()];
        self.end_each(ends).await;
    }

    /// Ends each in its way, in the order in which they were begun.
    pub async fn end_each(self, ends: Vec<ActionOutcome>) {
        let Context { store, clock, .. } = &self.trail.0;
        let at = clock.now();
        let ends = self.ids.into_iter().zip(ends);
        let ends = ends.map(|(id, ActionOutcome { outcome, detail })| AuditEnd { id, at, outcome, detail });
        let ends: Vec<_> = ends.collect();
        // What was done was done: its answer goes out all the same, and the entry says `unknown`.
        if let Err(e) = store.end_entries(&ends).await {
            tracing::warn!(error = %e, "the audit trail does not know what came of an action; it says unknown");
        }
    }
}
