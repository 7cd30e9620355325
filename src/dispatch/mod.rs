//! Sending what is due: who may be tried now, by how many at once, and what follows.
//!
//! One slow or dead endpoint never delays another: each may always have one attempt under way, and what they share
//! beyond that is handed out in turns. Nothing here knows the listeners: work arrives through the store and a wake-up, or
//! straight from intake by the fast path.

mod attempt;
mod driver;
mod endpoint_cache;
mod health;
mod rate_limit;
mod result_writer;

pub use driver::{Driver, DriverParts, lease_for};
