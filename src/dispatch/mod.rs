//! Dispatch of due deliveries: limits, attempts, results.
//!
//! A slow or dead endpoint never delays another: each may always have one attempt under way, and further permits are shared in
//! turns. The module does not depend on the listeners: work arrives through the store and a notification, or from intake by the
//! fast path.

mod attempt;
mod driver;
mod endpoint_cache;
mod health;
mod rate_limit;
mod result_writer;
mod unsettled;

pub use driver::{Driver, DriverParts, lease_for};
