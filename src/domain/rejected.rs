//! Rejected callbacks: requests of an admitted sender that could not be understood.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Cursor, Limit, Order, RejectedId, ServiceName, Trust};

/// Rejected callback. Holds no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCallback {
    /// Its id.
    pub id: RejectedId,
    /// Service that the sender was admitted for.
    pub service: ServiceName,
    /// Trust that an event of this sender would have had.
    pub trust: Trust,
    /// Address of the client.
    pub source_ip: Option<IpAddr>,
    /// Time of the request.
    pub received_at: Timestamp,
    /// First parameter that was missing or malformed, or `path`.
    pub reason: String,
    /// The request as text: method and path, a line with the query, the body. Tokens are replaced by `***`.
    pub request: String,
}

/// Filter and position of a list of rejected callbacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedFilter {
    /// Direction and position.
    pub order: Order,
    /// Maximum number of rows.
    pub limit: Limit,
    /// Only these services; empty means all.
    pub services: Vec<ServiceName>,
}

/// A rejected callback with its position in the list.
pub type ListedRejected = (Cursor, RejectedCallback);
