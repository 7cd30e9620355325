//! Sign-in links, each stored in memory for a minute under a code that works once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::domain::RandomSource;

/// Time after which an unused link is dropped.
const LIFE: Duration = Duration::from_mins(1);

/// Maximum number of unused links. A support team has a few.
const CAPACITY: usize = 10_000;

/// Unused links. They are in the memory of this process only, which is overwritten when they are dropped.
#[derive(Default)]
pub struct SignInLinks {
    /// Links by a digest of their code: the time of a look-up reveals nothing about a code.
    waiting: Mutex<HashMap<[u8; 32], WaitingLink>>,
}

/// Unused link with its user name.
pub struct WaitingLink {
    /// Link of upstream. It signs in as the user without a password.
    pub link: SecretString,
    /// Name of the user.
    pub username: String,
    until: Timestamp,
}

/// Code of a stored link.
#[derive(Debug)]
pub struct SignInLink {
    /// Code that returns the link once: 192 random bits.
    pub code: SecretString,
    /// Until when.
    pub until: Timestamp,
}

impl SignInLinks {
    /// None wait yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a link. Returns `None` when too many are unused.
    pub fn put(
        &self,
        link: SecretString,
        username: &str,
        now: Timestamp,
        rng: &RandomSource,
    ) -> Option<SignInLink> {
        let mut waiting = self.lock();
        waiting.retain(|_, link| link.until > now);
        if waiting.len() >= CAPACITY {
            return None;
        }
        let code = URL_SAFE_NO_PAD.encode(rng.bytes::<24>());
        let until = now.checked_add(LIFE).unwrap_or(Timestamp::MAX);
        waiting.insert(digest(&code), WaitingLink { link, username: username.to_owned(), until });
        Some(SignInLink { code: code.into(), until })
    }

    /// Returns an unused link and removes it.
    pub fn take(&self, code: &str, now: Timestamp) -> Option<WaitingLink> {
        let mut waiting = self.lock();
        waiting.retain(|_, link| link.until > now);
        waiting.remove(&digest(code))
    }

    /// Stores a link again that could not be delivered. Its expiry stays.
    pub fn put_back(&self, code: &str, waiting: WaitingLink) {
        self.lock().insert(digest(code), waiting);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], WaitingLink>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code).into()
}

impl std::fmt::Debug for WaitingLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting(..)")
    }
}

impl std::fmt::Debug for SignInLinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("waiting", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_link_is_given_out_once_and_in_time() {
        let sessions = SignInLinks::new();
        let rng = RandomSource::seeded(1);
        let now = Timestamp::UNIX_EPOCH;
        let later = |seconds| now.checked_add(Duration::from_secs(seconds)).unwrap();
        let ticket = sessions.put("https://planted".into(), "jane", now, &rng).unwrap();
        assert!(sessions.take("another", now).is_none());
        let code = ticket.code.expose_secret();
        let waiting = sessions.take(code, later(59)).unwrap();
        assert_eq!((waiting.link.expose_secret(), &*waiting.username), ("https://planted", "jane"));
        assert!(!format!("{waiting:?}").contains("planted"));
        sessions.put_back(code, waiting);
        assert!(sessions.take(code, later(59)).is_some(), "it was put back");
        assert!(sessions.take(ticket.code.expose_secret(), later(59)).is_none(), "it was given out");
        let ticket = sessions.put("https://planted".into(), "jane", now, &rng).unwrap();
        assert!(sessions.take(ticket.code.expose_secret(), later(60)).is_none(), "it was too late");
        assert!(!format!("{sessions:?}{ticket:?}").contains("planted"));
    }

    #[test]
    fn only_so_many_wait() {
        let sessions = SignInLinks::new();
        let rng = RandomSource::seeded(1);
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..CAPACITY {
            sessions.put("https://a".into(), "jane", now, &rng).unwrap();
        }
        assert!(sessions.put("https://a".into(), "jane", now, &rng).is_none());
        let later = now.checked_add(LIFE).unwrap();
        assert!(
            sessions.put("https://a".into(), "jane", later, &rng).is_some(),
            "expired links are dropped first"
        );
    }
}
