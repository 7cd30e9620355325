//! Types and rules without I/O.
//!
//! Nothing here opens a socket, a file or a connection or reads the environment. Time and randomness come through
//! [`Clock`] and [`RandomSource`] alone. Nothing here imports another module of the crate.

mod assertion;
mod asymmetric;
mod audit;
mod authentication;
mod clock;
mod consumer;
mod delivery;
mod duration;
mod edit;
mod email;
mod endpoint;
mod event;
mod event_type;
mod headers;
mod health;
mod ids;
mod key;
mod operational_event;
mod page;
mod postgres_url;
mod provisioning;
mod random;
mod raw_json;
mod rejected;
mod retry;
mod sending;
mod service;
mod signature;
mod spreadsheet;
mod text_enum;
mod ticket;
mod time;
mod trust;
mod uaid;
mod verification;

pub use assertion::{ASSERTION_LASTS, AssertionKey};
pub use asymmetric::{AsymmetricKey, PublicKey};
pub use audit::{
    AUDIT_ACTIONS, AUDIT_OUTCOMES, Actor, AuditAction, AuditEnd, AuditEntry, AuditFilter, AuditOutcome,
    NewAuditEntry, named, sanitize_code,
};
pub use authentication::{
    AppState, Authentication, AuthenticationName, AuthenticationStatus, Expectation, ExpectationMatch,
    ExpiresIn, Subject,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use consumer::{Consumer, ConsumerId, ConsumerName, EXACT_LAG_LIMIT, Seek};
pub use delivery::{
    Attempt, AttemptError, AttemptReport, Delivery, DeliveryFilter, DeliveryState, Lease, Settlement, Verdict,
};
pub use duration::HumanDuration;
pub use edit::{EditRefusal, EndpointChange, EndpointEdit, FieldPatch, HeaderChanges};
pub use email::is_email_address;
pub use endpoint::{Endpoint, EndpointName, EndpointSettings, EndpointUrl, Format, PreviousSecret};
pub use event::{Event, EventFilter, NewEvent};
pub use event_type::{CallbackType, EventType};
pub use headers::Headers;
pub use health::{EndpointOutcome, HELD_BACK_AFTER, Health, HealthRules, HealthTransition, PROBE_EVERY};
pub use ids::{AuditId, DeliveryId, EndpointId, EventId, KeyId, LeaseToken, RejectedId};
pub use key::{AdminKeys, ApiKey, Grant, KEY_PREFIX, KeyDigest, KeyName, Scope, new_key};
pub use page::{Cursor, CursorStatus, Limit, Order, Page, RetainedRange};
pub use postgres_url::PostgresUrl;
pub use provisioning::{
    InvitationRequest, InvitationRule, ProvisioningAttempt, ProvisioningEnd, ProvisioningMode,
};
pub use random::RandomSource;
pub use raw_json::RawJson;
pub use rejected::{ListedRejected, RejectedCallback, RejectedFilter};
pub use retry::{Retry, RetryPolicy, retry_after};
pub use sending::{AttemptTimeout, MaxInFlight, RateLimit, Schedule, Sending};
pub use service::ServiceName;
pub use signature::{SigningSecret, webhook_headers};
pub use spreadsheet::{defused, restored};
pub use ticket::{BadTicket, Ticket, TicketKey};
pub use time::{iso_millis, parse_time};
pub use trust::{MinTrust, Trust};
pub use uaid::Uaid;
pub use verification::{Fault, Known, Signed, Unverified, Verified, Verifier};

use std::fmt;

/// Error about a value from outside that breaks a rule of the domain, described by a lower-case fragment.
///
/// It never repeats a secret: the types that hold secrets describe what is allowed, not what they got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// Returns the error with a fragment such as `a uaid is 32 hexadecimal digits`.
    pub fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}
