//! Wait tickets: a browser with a ticket may watch a single authentication for a while, and nothing else.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{Authentication, AuthenticationName, RandomSource, Uaid};

/// Key of the tickets' HMAC. `Debug` never shows it.
#[derive(Clone)]
pub struct TicketKey(SecretString);

/// Authentication that may be watched, and the end of the permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The authentication.
    pub name: AuthenticationName,
    /// End of the permission, to the second.
    pub until: Timestamp,
}

impl Ticket {
    /// The time at which a ticket for an expectation runs out. Tickets know whole seconds; one more, so that it outlives what
    /// it is for.
    #[must_use]
    pub fn end(expires_at: Timestamp) -> Timestamp {
        Timestamp::from_second(expires_at.as_second().saturating_add(1)).unwrap_or(expires_at)
    }

    /// Moves the end to that of the expectation, if that is later.
    pub fn prolong(&mut self, authentication: &Authentication) {
        if let Some(expires_at) = authentication.expires_at {
            self.until = self.until.max(Self::end(expires_at));
        }
    }
}

/// Reason why a ticket is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// Not a ticket of this service.
    #[error("this is no ticket")]
    Malformed,
    /// The HMAC does not match: the ticket was not made by this service.
    #[error("the ticket was not made here")]
    Forged,
}

/// Version of the ticket format.
const VERSION: u8 = 1;

/// Length of version, time and uaid in bytes.
const HEAD: usize = 1 + 8 + 16;

const MAC: usize = 32;

impl TicketKey {
    /// Returns the text of a new key.
    #[must_use]
    pub fn generate(rng: &RandomSource) -> SecretString {
        URL_SAFE_NO_PAD.encode(rng.bytes::<32>()).into()
    }

    /// Returns the key with this text.
    #[must_use]
    pub fn new(text: SecretString) -> Self {
        Self(text)
    }

    /// Writes a ticket: base64url of version, time, uaid, service, and the HMAC-SHA256 of all that.
    #[must_use]
    pub fn seal(&self, ticket: &Ticket) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(ticket.until.as_second().to_be_bytes());
        bytes.extend(ticket.name.uaid.as_bytes());
        bytes.extend(ticket.name.service.as_str().as_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a ticket and verifies its HMAC in constant time. The ticket may have expired.
    pub fn open(&self, text: &str) -> Result<Ticket, BadTicket> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadTicket::Malformed)?;
        let (body, mac) = bytes.split_last_chunk::<MAC>().ok_or(BadTicket::Malformed)?;
        let (head, service) = body.split_first_chunk::<HEAD>().ok_or(BadTicket::Malformed)?;
        let ticket = read(head, service).ok_or(BadTicket::Malformed)?;
        self.mac(body).verify_slice(mac).map_err(|_| BadTicket::Forged)?;
        Ok(ticket)
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(body);
        mac
    }
}

fn read(head: &[u8; HEAD], service: &[u8]) -> Option<Ticket> {
    let (version, rest) = head.split_first()?;
    let (until, uaid) = rest.split_first_chunk::<8>()?;
    if *version != VERSION {
        return None;
    }
    let service = std::str::from_utf8(service).ok()?.parse().ok()?;
    let name = AuthenticationName { service, uaid: Uaid::from_bytes(uaid.try_into().ok()?) };
    Some(Ticket { name, until: Timestamp::from_second(i64::from_be_bytes(*until)).ok()? })
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> TicketKey {
        TicketKey::new(text.to_owned().into())
    }

    fn ticket() -> Ticket {
        let uaid = "b83ee873a9b44f2083c130db24dfbe91".parse().unwrap();
        let name = AuthenticationName { service: "portal".parse().unwrap(), uaid };
        Ticket { name, until: Timestamp::from_second(2_000_000_000).unwrap() }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let sealed = key("one").seal(&ticket());
        assert_eq!(key("one").open(&sealed), Ok(ticket()));
        assert_eq!(key("two").open(&sealed), Err(BadTicket::Forged));
        for text in ["", "x", "ticket", &"A".repeat(200), "b83ee873a9b44f2083c130db24dfbe91"] {
            assert_eq!(key("one").open(text), Err(BadTicket::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_ticket_survives_a_changed_bit(bit in 0..(HEAD + 6 + MAC) * 8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(key("one").seal(&ticket())).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(key("one").open(&changed).is_err());
        }
    }
}
