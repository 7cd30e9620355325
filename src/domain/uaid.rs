//! RemAuth's authentication id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Authentication id: 128 bits, written as 32 lower-case hexadecimal digits.
///
/// `Display` writes all digits, for bodies and URLs. Logs get [`Uaid::brief`], from which an authentication cannot be
/// completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uaid([u8; 16]);

impl Uaid {
    /// From its 128 bits.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 128 bits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the first eight digits: enough to find the authentication, too few to use it.
    #[must_use]
    pub fn brief(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl FromStr for Uaid {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("a uaid is 32 hexadecimal digits");
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| invalid())?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0]).zip(nibble(pair[1])).map(|(hi, lo)| hi << 4 | lo).ok_or_else(invalid)?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl TryFrom<String> for Uaid {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Uaid> for String {
    fn from(uaid: Uaid) -> Self {
        uaid.to_string()
    }
}

impl fmt::Display for Uaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Uaid;

    #[test]
    fn either_case_becomes_lower_case() {
        let uaid: Uaid = "B83EE873A9B44F2083C130DB24DFBE91".parse().unwrap();
        assert_eq!(uaid.to_string(), "b83ee873a9b44f2083c130db24dfbe91");
        assert_eq!(uaid.brief(), "b83ee873");
    }

    #[test]
    fn anything_but_32_digits_is_refused() {
        for text in [
            "",
            "b83e",
            "b83ee873a9b44f2083c130db24dfbe9g",
            "b83ee873-a9b4-4f20-83c1-30db24dfbe91",
            " b83ee873a9b44f2083c130db24dfbe9",
            "ééééééééééééééééx",
        ] {
            assert!(text.parse::<Uaid>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bits_agree(bytes: [u8; 16]) {
            let uaid = Uaid::from_bytes(bytes);
            prop_assert_eq!(uaid.to_string().parse::<Uaid>().unwrap(), uaid);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = text.parse::<Uaid>();
        }
    }
}
