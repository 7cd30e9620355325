//! Audit entries of operations, written before each operation and completed after it.

use serde_json::Value;

use super::actor::RequestActor;
use crate::context::Context;
use crate::domain::{AuditEnd, AuditId, NewAuditEntry, named};
use crate::store::StoreError;

/// Writer of audit entries.
#[derive(Clone)]
pub struct AuditRecorder(pub Context);

/// Outcome of an action with its facts as a JSON object. Holds no password, key or link.
#[derive(Debug, Clone)]
pub struct ActionOutcome {
    /// Label of the outcome.
    pub outcome: &'static str,
    /// Facts.
    pub detail: Option<Value>,
}

/// Entries of an action under way. If dropped, their outcome stays `unknown`.
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
    /// Completes all entries with the same outcome.
    pub async fn end(self, end: &ActionOutcome) {
        let ends = vec![end.clone(); self.ids.len()];
        self.end_each(ends).await;
    }

    /// Completes each entry with its own outcome, in their order.
    pub async fn end_each(self, ends: Vec<ActionOutcome>) {
        let Context { store, clock, .. } = &self.trail.0;
        let at = clock.now();
        let ends = self.ids.into_iter().zip(ends);
        let ends = ends.map(|(id, ActionOutcome { outcome, detail })| AuditEnd { id, at, outcome, detail });
        let ends: Vec<_> = ends.collect();
        // The operation was made: its answer is sent all the same, and the entry says `unknown`.
        if let Err(e) = store.end_entries(&ends).await {
            tracing::warn!(error = %e, "failed to complete an audit entry; its outcome stays unknown");
        }
    }
}
