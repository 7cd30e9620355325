//! Durations in log lines.

use std::time::Duration;

/// Milliseconds with at most 3 decimals, for fields whose name ends in `_ms`.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Duration::from_nanos(1_234_567), "1.234")]
    #[case(Duration::from_millis(20), "20")]
    #[case(Duration::ZERO, "0")]
    fn at_most_three_decimals(#[case] duration: Duration, #[case] text: &str) {
        assert_eq!(millis(duration).to_string(), text);
    }
}
