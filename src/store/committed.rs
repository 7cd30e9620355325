//! Changes of one commit, as far as others wait for them or count them.

use jiff::Timestamp;

use crate::domain::{AuthenticationName, EndpointId, EventType, NewEvent};

/// Changes of one commit. Every writing method whose changes others wait for returns them; the caller announces them
/// by one function, so that no wake-up and no count is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "readers are not woken before the changes are announced"]
pub struct Committed {
    /// Events that were stored and had not been seen before.
    pub events: Vec<CommittedEvent>,
    /// True if events that were stored before changed for their readers.
    pub events_changed: bool,
    /// Numbers of deliveries that reached a state.
    pub deliveries: DeliveryCounts,
    /// True if deliveries are due now or may be due sooner than before.
    pub deliveries_due: bool,
    /// True if endpoints were changed, removed, enabled or disabled.
    pub endpoints_changed: bool,
    /// Endpoints whose deliveries are held back from now on.
    pub held_back: Vec<EndpointId>,
    /// Endpoints whose deliveries are no longer held back.
    pub recovered: Vec<EndpointId>,
    /// Endpoints that a rule disabled.
    pub disabled: Vec<EndpointId>,
    /// Time at which an expectation expires that was stored or changed.
    pub next_expiry: Option<Timestamp>,
}

/// Numbers of deliveries by the state that they reached in a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Created, or open again.
    pub pending: u64,
    /// Accepted by their receivers.
    pub succeeded: u64,
    /// Given up.
    pub exhausted: u64,
    /// Cancelled.
    pub cancelled: u64,
}

/// A stored event, as far as it concerns waiting requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEvent {
    /// Type.
    pub event_type: EventType,
    /// Authentication that the event is about.
    pub authentication: Option<AuthenticationName>,
}

impl From<&NewEvent> for CommittedEvent {
    fn from(event: &NewEvent) -> Self {
        Self { event_type: event.event_type, authentication: event.authentication() }
    }
}

impl Committed {
    /// Changes of deliveries alone: this number was created or reopened, and is due.
    pub(super) fn pending(count: u64) -> Self {
        let deliveries = DeliveryCounts { pending: count, ..DeliveryCounts::default() };
        Self { deliveries, deliveries_due: count > 0, ..Self::default() }
    }

    /// Adds the changes of an append within the same transaction.
    pub(super) fn add(&mut self, appended: Self) {
        self.events.extend(appended.events);
        self.deliveries.pending += appended.deliveries.pending;
        self.deliveries_due |= appended.deliveries_due;
    }
}
