//! Times on the command line.

use jiff::Timestamp;

use crate::domain::{Clock, HumanDuration, SystemClock};

/// Parses a time, or a duration before now.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = text.parse::<HumanDuration>().ok();
    ago.and_then(|ago| SystemClock.now().checked_sub(ago.get()).ok())
        .ok_or_else(|| "a time is such as 2026-11-22T21:04:05Z, or 1h for an hour ago".to_owned())
}
