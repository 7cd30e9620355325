//! One event owed to one endpoint, and what became of trying.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::event::text_enum;
use super::{DeliveryId, EndpointId, Event, EventId, LeaseToken, Limit, NewEvent, Order, iso_millis};

text_enum! {
    /// How far a delivery has come.
    DeliveryState, "a delivery's state" {
        /// Waits for its next attempt.
        Pending = "pending",
        /// Somebody holds a lease and tries.
        Sending = "sending",
        /// Accepted.
        Succeeded = "succeeded",
        /// Given up after the last attempt of its schedule.
        Exhausted = "exhausted",
        /// Withdrawn by somebody.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Why an attempt got no answer.
    AttemptError, "an attempt's error" {
        /// The name could not be resolved.
        Dns = "dns",
        /// No connection came about.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No whole answer came in time.
        Timeout = "timeout",
        /// The answer was not HTTP, or the connection broke.
        Protocol = "protocol",
        /// The egress guard refused the address.
        Refused = "refused",
    }
}

/// The right to attempt a delivery until it runs out, and all that the attempt needs.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Proves that the delivery is still ours.
    pub token: LeaseToken,
    /// What is to be delivered.
    pub delivery: DeliveryId,
    /// To whom.
    pub endpoint: EndpointId,
    /// What it says.
    pub event: Event,
    /// How many attempts have been made before this one.
    pub attempt_count: u32,
    /// How many of them were made before its schedule was begun anew.
    pub attempts_before: u32,
    /// Whether somebody asked for it again.
    pub replay: bool,
}

/// A delivery as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// What is delivered.
    pub event: EventId,
    /// To whom.
    pub endpoint: EndpointId,
    /// How far it has come.
    pub state: DeliveryState,
    /// How many attempts have ended.
    pub attempt_count: i64,
    /// When the next one is due; nothing while one is under way, and when there will be none.
    #[serde(with = "iso_millis::option")]
    pub next_attempt_at: Option<Timestamp>,
    /// Since when it has been owed.
    #[serde(with = "iso_millis")]
    pub created_at: Timestamp,
    /// Since when it has been over.
    #[serde(with = "iso_millis::option")]
    pub settled_at: Option<Timestamp>,
    /// Whether somebody asked for it again.
    pub replay: bool,
}

/// An attempt as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When it began.
    #[serde(with = "iso_millis")]
    pub at: Timestamp,
    /// The status of the answer, when there was one.
    pub status: Option<i64>,
    /// Why there was none.
    pub error: Option<AttemptError>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: i64,
    /// The first bytes of the answer, or what the error said.
    pub response: String,
}

/// Which deliveries somebody asks for. Nothing means all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Which way, and from where.
    pub order: Order,
    /// At most so many.
    pub limit: Limit,
    /// Only to this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only those that have come so far.
    pub state: Option<DeliveryState>,
}

/// What one attempt saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// When it began.
    pub at: Timestamp,
    /// The status of the answer, when there was one.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<AttemptError>,
    /// How long it took.
    pub elapsed: Duration,
    /// The first bytes of the answer, or what the error said.
    pub response: String,
    /// How long the receiver asked us to wait, by `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl AttemptReport {
    /// Whether the receiver took it: any 2xx, whatever its body.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// One word for logs and metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match (self.status, self.error) {
            (_, Some(error)) => error.as_str(),
            (Some(200..=299), None) => "accepted",
            (Some(300..=399), None) => "status_3xx",
            (Some(400..=499), None) => "status_4xx",
            (Some(500..=599), None) => "status_5xx",
            (Some(_), None) => "status_other",
            (None, None) => "none",
        }
    }
}

/// What an attempt makes of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Succeeded,
    /// It is to be tried again then.
    RetryAt(Timestamp),
    /// Its schedule is used up.
    Exhausted,
    /// The receiver asked for no more, ever. Its endpoint is disabled; this is due then, should it be enabled again.
    Gone(Timestamp),
    /// It was not tried to the end, as when remgate stops; it is due again at once and has used up no schedule.
    Released,
}

/// How a lease ends: what was seen, and what follows.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// By which right.
    pub token: LeaseToken,
    /// What follows.
    pub verdict: Verdict,
    /// When it was decided.
    pub at: Timestamp,
    /// What was seen; nothing for [`Verdict::Released`].
    pub report: Option<AttemptReport>,
    /// What remgate says of it, if the lease was still ours.
    pub notice: Option<NewEvent>,
}

/// What attempts of one batch say about their endpoint: perhaps that one succeeded, and how many failed after that.
#[derive(Debug, Clone)]
pub struct EndpointOutcome {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// When that was.
    pub at: Timestamp,
    /// There was a success, and this is said when it ends a time of holding back.
    pub succeeded: Option<NewEvent>,
    /// How many failed since.
    pub failures: u64,
    /// It is to be disabled, at once.
    pub gone: Option<DisableRequest>,
    /// It is to be disabled when it had been failing by then already.
    pub given_up: Option<(Timestamp, DisableRequest)>,
}

/// An endpoint is disabled by a rule.
#[derive(Debug, Clone)]
pub struct DisableRequest {
    /// Why, for people.
    pub reason: String,
    /// What remgate says of it, if it was enabled until now.
    pub notice: NewEvent,
}
