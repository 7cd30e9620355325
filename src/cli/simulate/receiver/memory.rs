//! Memory of the receiver: number of requests of each id, and the rest of each rate.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::domain::RateLimit;

/// Maximum number of ids, and of paths with a rate, that are remembered. The oldest are dropped first.
const MAX_REMEMBERED: usize = 100_000;

/// Ids and rates that were seen since the process began.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tries: HashMap<MessageKey, Tries>,
    oldest: VecDeque<MessageKey>,
    rates: HashMap<String, VecDeque<Instant>>,
}

/// A path, which stands for an endpoint, and a webhook-id.
type MessageKey = (String, String);

/// Number of requests of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Number of requests, this one included.
    pub(super) attempt: u32,
    /// True if an earlier request of the id was accepted, so that this one must not be handled again.
    pub(super) duplicate: bool,
}

impl Memory {
    /// Notes one more request with this id.
    pub(super) fn note(&mut self, path: &str, id: &str) -> Tries {
        let key = (path.to_owned(), id.to_owned());
        if !self.tries.contains_key(&key) {
            if self.oldest.len() >= MAX_REMEMBERED
                && let Some(oldest) = self.oldest.pop_front()
            {
                self.tries.remove(&oldest);
            }
            self.oldest.push_back(key.clone());
        }
        let tries = self.tries.entry(key).or_default();
        tries.attempt = tries.attempt.saturating_add(1);
        *tries
    }

    /// Notes that an id was accepted.
    pub(super) fn accept(&mut self, path: &str, id: &str) {
        if let Some(tries) = self.tries.get_mut(&(path.to_owned(), id.to_owned())) {
            tries.duplicate = true;
        }
    }

    /// Takes one request out of a path's rate.
    ///
    /// The window slides over the requests that were accepted, so that exactly those are refused which exceed the rate. A
    /// token bucket, which senders use, would also refuse a burst that the rate allows.
    ///
    /// # Errors
    /// Time until the next request is accepted, when none is now.
    pub(super) fn take(&mut self, path: &str, rate: RateLimit, now: Instant) -> Result<(), Duration> {
        if self.rates.len() >= MAX_REMEMBERED && !self.rates.contains_key(path) {
            self.rates.clear();
        }
        let taken = self.rates.entry(path.to_owned()).or_default();
        while taken.front().is_some_and(|at| now.saturating_duration_since(*at) >= rate.period()) {
            taken.pop_front();
        }
        let most = usize::try_from(rate.count().get()).unwrap_or(usize::MAX);
        match taken.front() {
            Some(at) if taken.len() >= most => {
                Err(rate.period().saturating_sub(now.saturating_duration_since(*at)))
            }
            _ => {
                taken.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Clock, SystemClock};

    #[test]
    fn an_id_is_a_duplicate_only_after_it_was_accepted_there() {
        let mut memory = Memory::default();
        let seen = |attempt, duplicate| Tries { attempt, duplicate };
        assert_eq!(memory.note("/", "evt_1"), seen(1, false));
        assert_eq!(memory.note("/", "evt_1"), seen(2, false));
        memory.accept("/", "evt_1");
        assert_eq!(memory.note("/", "evt_1"), seen(3, true));
        assert_eq!(memory.note("/", "evt_2"), seen(1, false));
        assert_eq!(memory.note("/other", "evt_1"), seen(1, false));
    }

    #[test]
    fn the_oldest_ids_are_forgotten() {
        let mut memory = Memory::default();
        for number in 0..=MAX_REMEMBERED {
            memory.note("/", &number.to_string());
        }
        assert_eq!(memory.tries.len(), MAX_REMEMBERED);
        assert_eq!((memory.note("/", "1").attempt, memory.note("/", "0").attempt), (2, 1));
    }

    #[test]
    fn a_rate_holds_in_every_stretch_of_its_length() {
        let mut memory = Memory::default();
        let start = SystemClock.instant();
        let mut take =
            |path, millis| memory.take(path, "2/s".parse().unwrap(), start + Duration::from_millis(millis));
        assert_eq!((take("/", 0), take("/", 600)), (Ok(()), Ok(())));
        assert_eq!(take("/", 700), Err(Duration::from_millis(300)));
        assert_eq!(take("/other", 700), Ok(()));
        assert_eq!(take("/", 1000), Ok(()));
        assert_eq!(take("/", 1100), Err(Duration::from_millis(500)));
    }
}
