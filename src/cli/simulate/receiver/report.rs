//! Report of a request: sender, result of the signature check, content, and answer.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::behaviour::{ReceiverTrouble, Reply};
use super::memory::Tries;
use super::troubles;
use crate::cli::output::field;
use crate::domain::{Clock, HumanDuration, SystemClock, Unverified};

/// Decision about a request.
pub(super) struct Decision {
    pub(super) wait: Duration,
    pub(super) reply: Reply,
    /// Text of the answer, for people.
    pub(super) text: String,
}

/// Result of the signature check.
#[derive(Debug)]
pub(super) enum SignatureCheck {
    /// No key to check with.
    Unchecked,
    /// Signed with the key of this name.
    Genuine(String),
    /// Not signed with any known key.
    Not(Unverified),
}

/// Request as it is reported.
#[derive(Debug)]
pub(super) struct Report {
    at: Timestamp,
    method: String,
    pub(super) path: String,
    query: Option<String>,
    pub(super) id: Option<String>,
    timestamp: Option<String>,
    kind: Option<String>,
    replay: bool,
    pub(super) tries: Tries,
    pub(super) verdict: SignatureCheck,
    body: Bytes,
}

/// Returns RemAuth's three parameters, which the format `remauth` has instead of a body.
const PARAMETERS: [&str; 3] = ["authenticated", "registricated", "subscribed"];

/// Returns a header, if it is text.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

impl Report {
    pub(super) fn new(head: &Parts, body: &Bytes, verdict: SignatureCheck) -> Self {
        let text = |name| header(head, name).map(ToOwned::to_owned);
        let said =
            serde_json::from_slice(body).ok().and_then(|body: Json| Some(body["type"].as_str()?.to_owned()));
        Self {
            at: SystemClock.now(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(ToOwned::to_owned),
            id: text("webhook-id"),
            timestamp: text("webhook-timestamp"),
            kind: said.or_else(|| asked(head.uri.query()?)),
            replay: header(head, "remgate-replay") == Some("true"),
            tries: Tries::default(),
            verdict,
            body: body.clone(),
        }
    }

    /// For programs: one object.
    pub(super) fn json(&self, decision: &Decision) -> Json {
        let (genuine, signed_with, faults) = match &self.verdict {
            SignatureCheck::Unchecked => (Json::Null, Json::Null, Json::Null),
            SignatureCheck::Genuine(name) => (true.into(), name.as_str().into(), Json::Null),
            SignatureCheck::Not(faults) => {
                let told =
                    faults.0.iter().map(|fault| json!({"fault": fault.name(), "text": fault.to_string()}));
                (false.into(), Json::Null, told.collect())
            }
        };
        let (status, retry_after, trouble) = match decision.reply {
            Reply::Status(status, wait) => (Some(status.as_u16()), wait.map(troubles::whole_seconds), None),
            Reply::Trouble(trouble) => (None, None, Some(name(trouble))),
        };
        json!({
            "at": self.at, "method": self.method, "path": self.path, "query": self.query,
            "id": self.id, "type": self.kind, "timestamp": self.timestamp,
            "attempt": self.tries.attempt, "duplicate": self.tries.duplicate, "replay": self.replay,
            "genuine": genuine, "signed_with": signed_with, "faults": faults,
            "answer": {"status": status, "retry_after": retry_after, "trouble": trouble,
                       "after_ms": u64::try_from(decision.wait.as_millis()).unwrap_or(u64::MAX)},
            "body": self.body(),
        })
    }

    /// Returns a line about the request, and one with its body.
    pub(super) fn text(&self, decision: &Decision) -> String {
        let shown = |text: &Option<String>| field(&text.as_deref().unwrap_or("-").into());
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        };
        let mut text = format!("{} {} {}", self.at, self.method, field(&target.into()));
        let told = match &self.verdict {
            SignatureCheck::Unchecked => "not checked".to_owned(),
            SignatureCheck::Genuine(name) => format!("genuine, signed with {name}"),
            SignatureCheck::Not(faults) => format!("NOT GENUINE: {faults}"),
        };
        let notes = self.notes();
        write!(text, "  {} {}  {told}{notes}  -> {decision}", shown(&self.kind), shown(&self.id))
            .expect("a text takes more text");
        if !self.body.is_empty() {
            text.push_str("\n  ");
            text.push_str(&field(&String::from_utf8_lossy(&self.body).into()));
        }
        text
    }

    /// Returns the body as JSON or text; `None` when it is empty.
    fn body(&self) -> Json {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(_) if self.body.is_empty() => Json::Null,
            Err(_) => String::from_utf8_lossy(&self.body).into(),
        }
    }

    fn notes(&self) -> String {
        let mut notes = String::new();
        if self.replay {
            notes.push_str(", a replay");
        }
        if self.tries.duplicate {
            notes.push_str(", a DUPLICATE of what was accepted before");
        } else if self.tries.attempt > 1 {
            write!(notes, ", attempt {}", self.tries.attempt).expect("a text takes more text");
        }
        notes
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reply {
            Reply::Status(status, wait) => {
                write!(f, "{}", status.as_u16())?;
                if let Some(wait) = wait {
                    write!(f, " with Retry-After {}", troubles::whole_seconds(wait))?;
                }
            }
            Reply::Trouble(trouble) => f.write_str(&name(trouble))?,
        }
        if !self.wait.is_zero() {
            write!(f, " after {}", HumanDuration(self.wait))?;
        }
        if !self.text.is_empty() {
            write!(f, " ({})", self.text)?;
        }
        Ok(())
    }
}

/// As it is asked for.
fn name(trouble: ReceiverTrouble) -> String {
    format!("{trouble:?}").to_ascii_lowercase()
}

fn asked(query: &str) -> Option<String> {
    let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    let found = names.filter(|name| PARAMETERS.contains(&name.as_ref())).last()?;
    Some(format!("remauth.{found}"))
}
