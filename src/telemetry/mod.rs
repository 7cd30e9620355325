//! What the house tells about its running: logs and metrics. It decides nothing and knows no other room.

mod metrics;

pub use metrics::{Metrics, WaiterGuard};
