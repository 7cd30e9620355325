//! What the house tells about its running: logs and metrics. It decides nothing and knows no other room.

mod limit;
mod logging;
mod metrics;

pub use limit::LogLimiter;
pub use logging::{LogStyle, init, layer};
pub use metrics::{Metrics, WaiterGuard};
