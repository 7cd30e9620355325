//! Logs and metrics.

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
