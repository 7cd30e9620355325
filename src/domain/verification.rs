//! Verification of requests by Standard Webhooks 1.0.0, as a receiver does it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{HumanDuration, PublicKey, SigningSecret};

/// Key of the sender that a receiver knows.
#[derive(Debug, Clone)]
pub enum Known {
    /// A secret that both share, for `v1`.
    Secret(SigningSecret),
    /// The public half of the sender's key, for `v1a`.
    Key(PublicKey),
}

/// A request as far as its signature goes: the texts of three headers, and the body byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`: one or more, with a space between them.
    pub signature: &'a str,
    /// The body, or nothing.
    pub body: &'a [u8],
}

/// Verifies requests with the keys of their sender. One valid signature is enough.
#[derive(Debug, Clone)]
pub struct Verifier {
    known: Vec<Known>,
    tolerance: Option<Duration>,
}

/// Request whose signature is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Time of the signature.
    pub at: Timestamp,
    /// Index of the key that made the signature.
    pub by: usize,
}

/// Faults of a request that is not genuine; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Unverified(pub Vec<Fault>);

/// Fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The id is missing or contains a full stop, so its end in the signed text is ambiguous.
    Id,
    /// The timestamp is no whole number of seconds.
    Timestamp,
    /// The timestamp is too old.
    Old {
        /// Age.
        age: Duration,
        /// Maximum age.
        tolerance: Duration,
    },
    /// The timestamp is in the future.
    Early {
        /// Distance to the present.
        ahead: Duration,
        /// Maximum distance.
        tolerance: Duration,
    },
    /// Nothing in the signature's header looks like a signature.
    NoSignature,
    /// No signature can be checked with the known keys.
    OtherKind,
    /// No signature fits.
    Misfit,
}

impl Fault {
    /// Its name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "bad_id",
            Self::Timestamp => "bad_timestamp",
            Self::Old { .. } => "too_old",
            Self::Early { .. } => "from_the_future",
            Self::NoSignature => "no_signature",
            Self::OtherKind => "other_kind",
            Self::Misfit => "no_fit",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beyond = |length: Duration, tolerance| HumanDuration(length.saturating_sub(tolerance));
        match *self {
            Self::Id => f.write_str("the id is empty or holds a `.`, so that what was signed is not clear"),
            Self::Timestamp => f.write_str("the timestamp is not a whole number of seconds since 1970"),
            Self::Old { age, tolerance } => write!(
                f,
                "the timestamp is {} old, too old by {}",
                HumanDuration(age),
                beyond(age, tolerance)
            ),
            Self::Early { ahead, tolerance } => write!(
                f,
                "the timestamp is {} in the future, too early by {}; is the clock right?",
                HumanDuration(ahead),
                beyond(ahead, tolerance)
            ),
            Self::NoSignature => {
                f.write_str("there is no signature such as `v1,` and the base64 of 32 bytes in the header")
            }
            Self::OtherKind => f.write_str(
                "no signature is of the kind that is checked with this: `v1` needs a secret, `v1a` a public key",
            ),
            Self::Misfit => f.write_str("no signature fits"),
        }
    }
}

impl Verifier {
    /// Tolerance that the specification recommends: five minutes before and after.
    pub const TOLERANCE: Duration = Duration::from_mins(5);

    /// With everything that is known of the sender; a timestamp may be `tolerance` off, or anything when that is not
    /// limited.
    #[must_use]
    pub fn new(known: Vec<Known>, tolerance: Option<Duration>) -> Self {
        Self { known, tolerance }
    }

    /// Checks whether a request that arrives at `now` is the sender's. All checks are made, so that the error names
    /// every fault.
    pub fn verify(&self, signed: &Signed<'_>, now: Timestamp) -> Result<Verified, Unverified> {
        let mut faults = Vec::new();
        if signed.id.is_empty() || signed.id.contains('.') {
            faults.push(Fault::Id);
        }
        let Some(at) = seconds(signed.timestamp) else {
            faults.push(Fault::Timestamp);
            return Err(Unverified(faults));
        };
        let by = self.fitting(signed, at.as_second()).map_err(|fault| faults.push(fault)).ok();
        faults.extend(self.untimely(at, now));
        match by {
            Some(by) if faults.is_empty() => Ok(Verified { at, by }),
            _ => Err(Unverified(faults)),
        }
    }

    /// Returns the index of the key that fits one of the signatures.
    fn fitting(&self, signed: &Signed<'_>, at: i64) -> Result<usize, Fault> {
        let given: Vec<_> = signed.signature.split_ascii_whitespace().filter_map(Given::read).collect();
        if given.is_empty() {
            return Err(Fault::NoSignature);
        }
        let mut fault = Fault::OtherKind;
        for (place, known) in self.known.iter().enumerate() {
            for signature in &given {
                let fits = match (known, signature) {
                    (Known::Secret(secret), Given::V1(bytes)) => {
                        secret.fits(signed.id, at, signed.body, bytes)
                    }
                    (Known::Key(key), Given::V1a(bytes)) => key.fits(signed.id, at, signed.body, bytes),
                    _ => continue,
                };
                if fits {
                    return Ok(place);
                }
                fault = Fault::Misfit;
            }
        }
        Err(fault)
    }

    /// Compares whole seconds, as the libraries do.
    fn untimely(&self, at: Timestamp, now: Timestamp) -> Option<Fault> {
        let tolerance = self.tolerance?;
        let behind = now.as_second() - at.as_second();
        let off = Duration::from_secs(behind.unsigned_abs());
        (off > tolerance).then_some(if behind > 0 {
            Fault::Old { age: off, tolerance }
        } else {
            Fault::Early { ahead: off, tolerance }
        })
    }
}

/// Signature of a supported kind. Signatures of other kinds are ignored.
enum Given {
    V1(Vec<u8>),
    V1a(Vec<u8>),
}

impl Given {
    fn read(text: &str) -> Option<Self> {
        let (kind, encoded) = text.split_once(',')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        match kind {
            "v1" => Some(Self::V1(bytes)),
            "v1a" => Some(Self::V1a(bytes)),
            _ => None,
        }
    }
}

/// Only as it is written when signed: `+1` and `01` are numbers too, but other bytes.
fn seconds(text: &str) -> Option<Timestamp> {
    let seconds: i64 = text.parse().ok().filter(|seconds: &i64| seconds.to_string() == text)?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests;
