//! Everything at rest: events, endpoints, deliveries, keys, on SQLite or PostgreSQL.
//!
//! A method is one operation of the domain and one transaction; no transaction leaves this module. The rest of the
//! crate sees the traits below and never learns which engine answers. Nothing here calls another service or decides
//! when to try again.

mod audit;
mod authentications;
mod backend;
mod committed;
mod consumers;
mod deliveries;
mod endpoints;
mod error;
mod events;
mod file_lock;
mod idempotency;
mod keys;
mod management;
mod migrations;
mod open;
mod postgres;
mod provisionings;
mod redelivery;
mod rejected;
mod renewals;
mod results;
mod sql;
mod sqlite;
mod statements;
mod traits;
mod turns;
mod unopened;
mod write_connection;

pub use audit::AuditLog;
pub use authentications::{AuthenticationStore, ClaimTerms, Claimed, Expected, ExpiredBatch};
pub use committed::{Committed, CommittedEvent, DeliveryCounts};
pub use consumers::{ConsumerError, ConsumerStore, MAX_CONSUMERS};
pub use error::StoreError;
pub use idempotency::{BeginOutcome, IdempotencyLease, IdempotencyStore, IdempotentRequest, StoredResponse};
pub use management::{EditError, Edited, EndpointManagement};
pub use open::{Location, Store, admin_keys, is_current, open};
pub use postgres::Postgres;
pub use provisionings::ProvisioningStore;
pub use redelivery::{Redelivery, Replayed, Stretch, Window};
pub use rejected::{MAX_REJECTED, RejectedStore};
pub use sql::{SqlStore, statements};
pub use sqlite::Sqlite;
pub use traits::{
    Appended, Claim, Declaration, DeliveryStore, Due, EndpointStore, EventStore, InitialLease, KeyStore,
    LastAdminKey, PresentedKey, Recorded, Removal, Settled, SettlementOutcome, Upkeep,
};
