//! State of a simulated receiver, and its decisions.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;

use super::behaviour::{Behaviour, Reply};
use super::memory::Memory;
use super::report::{self, Decision, Report, SignatureCheck};
use crate::cli::key_ring::Ring;
use crate::cli::output::line;
use crate::domain::{Clock, HumanDuration, Signed, SystemClock, Verified, Verifier};

/// State that all connections share.
pub(super) struct ReceiverState {
    /// `None` when there is nothing to check with.
    pub(super) verifier: Option<Verifier>,
    pub(super) ring: Ring,
    pub(super) behaviour: Behaviour,
    pub(super) memory: Mutex<Memory>,
    pub(super) json: bool,
}

impl ReceiverState {
    /// Checks a request, prints it with its answer, and returns the answer.
    pub(super) fn receive(&self, head: &Parts, body: &Bytes) -> Decision {
        let verdict = self.verdict(head, body);
        let mut report = Report::new(head, body, verdict);
        let decision = self.decide(&mut report);
        let text = if self.json { report.json(&decision).to_string() } else { report.text(&decision) };
        // The output may be closed.
        let _ = line(&text);
        decision
    }

    fn verdict(&self, head: &Parts, body: &[u8]) -> SignatureCheck {
        let Some(verifier) = &self.verifier else { return SignatureCheck::Unchecked };
        let text = |name| report::header(head, name).unwrap_or_default();
        let id = text("webhook-id");
        let timestamp = text("webhook-timestamp");
        let signed = Signed { id, timestamp, signature: text("webhook-signature"), body };
        match verifier.verify(&signed, SystemClock.now()) {
            Ok(Verified { by, .. }) => SignatureCheck::Genuine(self.ring.known[by].name.clone()),
            Err(faults) => SignatureCheck::Not(faults),
        }
    }

    fn decide(&self, report: &mut Report) -> Decision {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let path = report.path.clone();
        let asked = match self.behaviour.at(&path) {
            Ok(asked) => asked,
            Err(why) => {
                let reply = Reply::Status(http::StatusCode::NOT_FOUND, None);
                return Decision { wait: Duration::ZERO, reply, text: why };
            }
        };
        let wait = asked.slow.map_or(Duration::ZERO, HumanDuration::get);
        let taken = asked.rate_limit.map_or(Ok(()), |rate| memory.take(&path, rate, SystemClock.instant()));
        if let Err(wait_for) = taken {
            return Decision { wait, reply: asked.too_many(wait_for), text: "too many at once".to_owned() };
        }
        let is_genuine = !matches!(report.verdict, SignatureCheck::Not(_));
        let reply = match &report.id {
            None => asked.reply(1, is_genuine),
            Some(id) => {
                report.tries = memory.note(&path, id);
                let reply = asked.reply(report.tries.attempt, is_genuine);
                if reply.accepts() {
                    memory.accept(&path, id);
                }
                reply
            }
        };
        Decision { wait, reply, text: String::new() }
    }
}
