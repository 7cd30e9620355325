//! JSON that is passed through as it was written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Invalid;

/// JSON value with its original text: digits of numbers, the order and repetition of keys and escapes in strings are kept.
/// White space between tokens is removed.
///
/// `Debug` shows the length alone: an app may store secrets in the value.
#[derive(Clone)]
pub struct RawJson(Box<RawValue>);

/// Maximum depth of nesting, as JSON parsers commonly accept it.
const MAX_DEPTH: usize = 127;

impl RawJson {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads a text.
    ///
    /// # Errors
    /// The text is not JSON, or is nested too deeply.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let value: Box<RawValue> =
            serde_json::from_str(text).map_err(|_| Invalid::new("a value is written in JSON"))?;
        let text = compact(value.get()).ok_or_else(|| {
            Invalid::new(format_args!("a JSON value is nested at most {MAX_DEPTH} levels deep"))
        })?;
        Ok(Self(RawValue::from_string(text).expect("without white space it is the same value")))
    }
}

/// Returns the text without white space between tokens; `None` when it is nested too deeply.
fn compact(text: &str) -> Option<String> {
    let mut compact = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ' ' | '\t' | '\r' | '\n' => continue,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return None;
        }
        compact.push(character);
    }
    Some(compact)
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.as_str().len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(value.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::RawJson;

    #[rstest::rstest]
    #[case("1")]
    #[case("123456789012345678901234567890")]
    #[case("-0")]
    #[case("1.0")]
    #[case("1e400")]
    #[case("0.1000000000000000055511151231257827021181583404541015625")]
    #[case(r#"{"b":1,"a":2,"b":3}"#)]
    #[case(r#"["\u0041\/ \" [ {",null,true]"#)]
    fn a_value_stays_as_it_was_written(#[case] text: &str) {
        let json: RawJson = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
    }

    #[test]
    fn white_space_between_tokens_goes() {
        assert_eq!(RawJson::parse(" { \"a b\" : [ 1 ,\n\t2 ] } ").unwrap().as_str(), r#"{"a b":[1,2]}"#);
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(RawJson::parse(&nested(127)).is_ok());
        assert!(RawJson::parse(&nested(128)).is_err());
        assert!(RawJson::parse(&format!("\"{}\"", nested(500))).is_ok());
    }

    #[rstest::rstest]
    fn other_texts_are_refused(#[values("", "{", "[1,]", "nul", "01", "1 2", "\"\u{1}\"")] text: &str) {
        assert!(RawJson::parse(text).is_err());
    }

    proptest! {
        #[test]
        fn it_means_the_same(text in "[\\[\\]{}:,\" \\\\na-c0-9.-]{0,16}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let json = RawJson::parse(&text).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value>(json.as_str()).unwrap(), value);
            }
        }
    }
}
