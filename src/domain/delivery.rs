//! Deliveries: one event owed to one endpoint, and its attempts.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::text_enum::text_enum;
use super::{DeliveryId, EndpointId, Event, EventId, LeaseToken, Limit, NewEvent, Order, iso_millis};

text_enum! {
    /// State of a delivery.
    DeliveryState, "a delivery's state" {
        /// Waits for its next attempt.
        Pending = "pending",
        /// A worker holds the lease and makes an attempt.
        Sending = "sending",
        /// Accepted.
        Succeeded = "succeeded",
        /// Given up: the last attempt of the schedule failed.
        Exhausted = "exhausted",
        /// Cancelled by request.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Reason why an attempt got no answer.
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

/// A worker's temporary claim on a delivery, with all that the attempt needs.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Delivery.
    pub delivery: DeliveryId,
    /// Lease token. Results are stored only while the delivery still has it.
    pub token: LeaseToken,
    /// Lease expiry. The delivery is due again then.
    pub expires_at: Timestamp,
    /// Endpoint.
    pub endpoint: EndpointId,
    /// Event.
    pub event: Event,
    /// Number of earlier attempts.
    pub attempt_count: u32,
    /// Number of earlier attempts before the schedule was restarted.
    pub attempts_before: u32,
    /// True for a replay.
    pub replay: bool,
}

/// Delivery as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Identifier.
    pub id: DeliveryId,
    /// Event.
    pub event: EventId,
    /// Endpoint.
    pub endpoint: EndpointId,
    /// State.
    pub state: DeliveryState,
    /// Number of completed attempts.
    pub attempt_count: i64,
    /// Time of the next attempt; `None` while one is under way, and when there is none.
    #[serde(with = "iso_millis::option")]
    pub next_attempt_at: Option<Timestamp>,
    /// Time of its creation.
    #[serde(with = "iso_millis")]
    pub created_at: Timestamp,
    /// Time of its end; `None` while it is open.
    #[serde(with = "iso_millis::option")]
    pub settled_at: Option<Timestamp>,
    /// True for a replay.
    pub replay: bool,
}

/// Attempt as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Begin of the attempt.
    #[serde(with = "iso_millis")]
    pub at: Timestamp,
    /// HTTP status of the answer; `None` without an answer.
    pub status: Option<i64>,
    /// Reason why there was no answer.
    pub error: Option<AttemptError>,
    /// Duration in milliseconds.
    pub elapsed_ms: i64,
    /// Beginning of the answer's body, or the text of the error.
    pub response: String,
}

/// Filter of deliveries. `None` admits all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Direction and start.
    pub order: Order,
    /// Maximum number of deliveries of a page.
    pub limit: Limit,
    /// Only to this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
}

/// Result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// Begin of the attempt.
    pub at: Timestamp,
    /// HTTP status of the answer; `None` without an answer.
    pub status: Option<u16>,
    /// Reason why there was no answer.
    pub error: Option<AttemptError>,
    /// Duration.
    pub elapsed: Duration,
    /// Beginning of the answer's body, or the text of the error.
    pub response: String,
    /// Wait that the receiver asked for by `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl AttemptReport {
    /// Returns whether the receiver accepted the delivery: any 2xx, whatever its body.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Returns the label for logs and metrics.
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

/// Consequence of an attempt for its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Succeeded,
    /// Time of the next attempt.
    RetryAt(Timestamp),
    /// The schedule has no further attempt.
    Exhausted,
    /// The receiver answered 410 Gone. The endpoint is disabled; the delivery is due at this time if it is enabled again.
    Gone(Timestamp),
    /// The attempt was not completed, as when remgate stops. The delivery is due again at once, and its schedule is
    /// unchanged.
    Released,
}

/// End of a lease: result of the attempt and its consequence.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Delivery.
    pub delivery: DeliveryId,
    /// Lease token. The result is ignored if another worker has taken the lease since.
    pub token: LeaseToken,
    /// Consequence.
    pub verdict: Verdict,
    /// Time of the decision.
    pub at: Timestamp,
    /// Result of the attempt; `None` for [`Verdict::Released`].
    pub report: Option<AttemptReport>,
    /// Event about the end of the delivery, stored if the lease is still held.
    pub event: Option<NewEvent>,
}
