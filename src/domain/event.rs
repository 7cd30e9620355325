//! Events: stored callbacks, and events of remgate itself.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AuthenticationName, Cursor, EndpointId, EventId, EventType, ExpectationMatch, Limit, Order, RawJson,
    ServiceName, Subject, Trust, Uaid, iso_millis,
};

/// Event that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Id of the event, unless the same event is stored already.
    pub id: EventId,
    /// Type.
    pub event_type: EventType,
    /// Service of the authentication.
    pub service: Option<ServiceName>,
    /// Authentication id.
    pub uaid: Option<Uaid>,
    /// Trust.
    pub trust: Trust,
    /// Address of the sender.
    pub source_ip: Option<IpAddr>,
    /// Time of the request.
    pub received_at: Timestamp,
    /// Facts of an event of remgate itself: a JSON object.
    pub detail: Option<Value>,
    /// Endpoint that the event is about. The event is not delivered to it.
    pub about: Option<EndpointId>,
}

impl NewEvent {
    /// Returns the authentication that the event is about.
    #[must_use]
    pub fn authentication(&self) -> Option<AuthenticationName> {
        let (service, uaid) = self.service.clone().zip(self.uaid)?;
        Some(AuthenticationName { service, uaid })
    }

    /// Returns the event as it is stored at `cursor`, with the match of its expectation.
    #[must_use]
    pub fn stored_at(&self, cursor: Cursor, met: ExpectationMatch) -> Event {
        Event {
            id: self.id.clone(),
            cursor,
            event_type: self.event_type,
            service: self.service.clone(),
            uaid: self.uaid,
            trust: self.trust,
            source_ip: self.source_ip,
            received_at: self.received_at,
            duplicates: 0,
            expected: self.uaid.map(|_| met.expected),
            subject: met.subject,
            state: met.state,
            late: met.late,
            detail: self.detail.clone(),
        }
    }
}

/// Event as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// Position in the order of all events.
    pub cursor: Cursor,
    /// Type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Service of the authentication.
    pub service: Option<ServiceName>,
    /// Authentication id.
    pub uaid: Option<Uaid>,
    /// Trust.
    pub trust: Trust,
    /// Address of the sender.
    pub source_ip: Option<IpAddr>,
    /// Time of the request.
    #[serde(with = "iso_millis")]
    pub received_at: Timestamp,
    /// Number of repetitions.
    pub duplicates: i64,
    /// True if its authentication was expected; `None` for an event without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// User who was to authenticate, as the app named them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Value of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RawJson>,
    /// True if it came after the expectation had expired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Facts of an event of remgate itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// Filter of events. An empty list of types or services admits all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Direction and start.
    pub order: Order,
    /// Maximum number of events of a page.
    pub limit: Limit,
    /// Only these types.
    pub types: Vec<EventType>,
    /// Only these services.
    pub services: Vec<ServiceName>,
    /// Only this authentication.
    pub uaid: Option<Uaid>,
    /// Only with one of these trusts; an empty list admits all.
    pub trusts: Vec<Trust>,
    /// Only about this user, as their app named them.
    pub subject: Option<Subject>,
    /// Only those received then or later.
    pub since: Option<Timestamp>,
    /// Only those received earlier than this.
    pub until: Option<Timestamp>,
}

impl EventFilter {
    /// Returns a filter that admits all events, with the default page size.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self {
            order,
            limit: Limit::default(),
            types: Vec::new(),
            services: Vec::new(),
            uaid: None,
            trusts: Vec::new(),
            subject: None,
            since: None,
            until: None,
        }
    }
}
