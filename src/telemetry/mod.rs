//! What the house tells about its running: logs and metrics. It decides nothing and knows no other room.

mod limit;
mod logging;
mod metrics;
mod millis;
mod waiting;

pub use limit::LogLimiter;
pub use logging::{DroppedLines, LogStyle, Logs, check_filter, init, layer};
pub use metrics::{Metrics, WaiterGuard};
pub use millis::millis;
pub use waiting::log_waiting;
