//! Trust in the origin of an event.

use serde::Deserialize;

use super::text_enum::text_enum;

text_enum! {
    /// Trust in the origin of an event: RemAuth does not sign its callbacks.
    Trust, "an event's trust" {
        /// The caller knew the service's secret token.
        Token = "token",
        /// The caller's address was on the service's list.
        Address = "address",
        /// Any client may have sent it.
        None = "none",
        /// remgate itself said it.
        Own = "self",
    }
}

impl Trust {
    /// Returns whether the trust is at least `minimum`.
    #[must_use]
    pub fn reaches(self, minimum: Self) -> bool {
        let rank = |trust| match trust {
            Self::None => 0,
            Self::Address => 1,
            Self::Token | Self::Own => 2,
        };
        rank(self) >= rank(minimum)
    }

    /// Returns the stricter of two minimums.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if self.reaches(other) { self } else { other }
    }
}

/// Minimum trust that a claim asks for: `token`, `address` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinTrust {
    /// The callback had a token.
    Token,
    /// The callback came from a listed address, or had a token.
    Address,
    /// Any callback.
    None,
}

impl MinTrust {
    /// Returns the trust to compare with.
    #[must_use]
    pub fn get(self) -> Trust {
        match self {
            Self::Token => Trust::Token,
            Self::Address => Trust::Address,
            Self::None => Trust::None,
        }
    }
}
