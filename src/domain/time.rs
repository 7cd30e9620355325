//! Times as text.

use jiff::Timestamp;

use super::Invalid;

/// Parses an RFC 3339 time. Times beyond the largest that can be represented, such as `9999-12-31T23:59:59Z`, are that one.
///
/// # Errors
/// The text is not such a time.
pub fn parse_time(text: &str) -> Result<Timestamp, Invalid> {
    let too_late = || {
        let beyond = text.starts_with("9999-12-3") && text.parse::<jiff::civil::DateTime>().is_err();
        let civil = text.trim_end_matches(['Z', 'z']).parse::<jiff::civil::DateTime>();
        (beyond && civil.is_ok()).then_some(Timestamp::MAX)
    };
    let parsed = text.parse().ok().or_else(too_late);
    parsed.ok_or_else(|| Invalid::new("a time is such as 2026-11-22T21:04:05Z"))
}

/// Timestamps as `2026-11-22T21:04:05.123Z`: always UTC, always milliseconds.
pub mod iso_millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Returns the text of a time.
    #[must_use]
    pub fn text(time: Timestamp) -> String {
        format!("{time:.3}")
    }

    /// Writes a time.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    /// Times that may be missing.
    pub mod option {
        use jiff::Timestamp;
        use serde::Serializer;

        /// Writes a time, or null.
        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }
    }

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_always_show_milliseconds() {
        let whole: Timestamp = "2026-11-22T21:04:05Z".parse().unwrap();
        assert_eq!(iso_millis::text(whole), "2026-11-22T21:04:05.000Z");
    }
}
