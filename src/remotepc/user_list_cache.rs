//! The users of our reseller account as people want to see them: kept for a while, filtered, sorted, counted.

use std::cmp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{ResellerUser, UpstreamResponse};
use crate::domain::Clock;

/// Keeps upstream's list for a while. Those who ask at the same time share one call.
pub struct UserListCache {
    clock: Arc<dyn Clock>,
    keep: Duration,
    begun: AtomicU64,
    ended: AtomicU64,
    last: Mutex<Option<Last>>,
}

/// The call that was made last.
#[derive(Debug)]
struct Last {
    number: u64,
    /// List of the last call; `None` if it failed.
    listing: Option<Listing>,
}

/// One user, in our own spelling. `Debug` shows neither name nor anything else of theirs.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Their name at `RemotePC`, as a rule their e-mail address.
    pub username: String,
    /// True if they may sign in.
    pub active: bool,
    /// Number of computers that they may set up.
    pub allotted_computers: u64,
    /// Number of computers that they have set up.
    pub used_computers: u64,
    /// Since when they have been there, if upstream says so: a day, without a time zone.
    pub created_on: Option<Date>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User(..)")
    }
}

/// Filter of the list.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Only those whose name holds this, in either case.
    pub name: Option<String>,
    /// Only those who may sign in, or only the others.
    pub active: Option<bool>,
}

/// By what a list is sorted; the name decides between equals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortBy {
    /// By name.
    #[default]
    Username,
    /// By how many computers they may set up.
    Allotted,
    /// By how many they have set up.
    Used,
    /// By the day since when they have been there; those of unknown age first.
    Created,
}

/// Totals of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Its users.
    pub users: u64,
    /// Number of users that may sign in.
    pub active: u64,
    /// The computers that they may set up.
    pub allotted_computers: u64,
    /// The computers that they have set up.
    pub used_computers: u64,
}

/// Upstream's list at one time.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Its users, in upstream's order.
    pub users: Arc<[User]>,
    /// Time of the call.
    pub as_of: Timestamp,
}

/// Reason why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum UserListError {
    /// Upstream refused, in these words.
    #[error("upstream refused to list users: {}", .0.join(", "))]
    Refused(Vec<String>),
    /// A call that others had begun has just failed.
    #[error("upstream could not list users a moment ago")]
    Failed,
    /// Upstream's list is not what its document shows.
    #[error("upstream's list does not have the documented shape")]
    Shape,
}

impl UserListCache {
    /// A directory that keeps a list for so long; no time at all = every look asks upstream.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        let begun = AtomicU64::new(0);
        let ended = AtomicU64::new(0);
        Self { clock, keep, begun, ended, last: Mutex::new(None) }
    }

    /// The list: the kept one as long as it is fresh, and upstream's own when `refresh` asks for it: only then `ask` is
    /// begun. Those who ask while a call is under way share what comes of it, also a failure: however many ask, upstream in
    /// trouble is asked once. A refresh is content with a call that was begun after it was asked for.
    pub async fn list<E: From<UserListError>>(
        &self,
        refresh: bool,
        ask: impl Future<Output = Result<UpstreamResponse, E>>,
    ) -> Result<Listing, E> {
        let begun = self.begun.load(Ordering::SeqCst);
        let ended = self.ended.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        match last.as_ref() {
            Some(Last { number, listing: Some(listing) })
                if *number > begun || !refresh && (*number > ended || self.is_fresh(listing)) =>
            {
                return Ok(listing.clone());
            }
            Some(Last { number, listing: None }) if *number > ended => {
                return Err(UserListError::Failed.into());
            }
            _ => {}
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let as_of = self.clock.now();
        let outcome = ask.await.and_then(|answer| Ok(listing(&answer, as_of)?));
        *last = Some(Last { number, listing: outcome.as_ref().ok().cloned() });
        self.ended.store(number, Ordering::SeqCst);
        outcome
    }

    fn is_fresh(&self, listing: &Listing) -> bool {
        // After the clock was set back, the age of the list is unknown, and it counts as old.
        let age = Duration::try_from(self.clock.now().duration_since(listing.as_of));
        age.is_ok_and(|age| age < self.keep)
    }

    /// Drops the list. Called after an addition or invitation.
    pub async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

fn listing(answer: &UpstreamResponse, as_of: Timestamp) -> Result<Listing, UserListError> {
    if !answer.is_success() {
        return Err(UserListError::Refused(answer.error_words()));
    }
    let users = answer.users().map_err(|_| UserListError::Shape)?;
    Ok(Listing { users: users.into_iter().map(User::from).collect(), as_of })
}

impl From<ResellerUser> for User {
    fn from(user: ResellerUser) -> Self {
        Self {
            username: user.username.as_str().to_owned(),
            active: user.is_active,
            allotted_computers: user.alloted_computers,
            used_computers: user.utilized_computers,
            created_on: user.created_date,
        }
    }
}

impl Listing {
    /// Returns the users that the filter admits, sorted.
    #[must_use]
    pub fn select(&self, filter: &UserFilter, by: SortBy, descending: bool) -> Vec<User> {
        let wanted = filter.name.as_ref().map(|name| name.to_lowercase());
        let fits = |user: &&User| {
            wanted.as_ref().is_none_or(|name| user.username.to_lowercase().contains(name))
                && filter.active.is_none_or(|active| user.active == active)
        };
        let mut users: Vec<_> = self.users.iter().filter(fits).cloned().collect();
        users.sort_by(|a, b| {
            let order = by.compare(a, b);
            if descending { order.reverse() } else { order }
        });
        users
    }
}

impl SortBy {
    fn compare(self, a: &User, b: &User) -> cmp::Ordering {
        let by_key = match self {
            Self::Username => cmp::Ordering::Equal,
            Self::Allotted => a.allotted_computers.cmp(&b.allotted_computers),
            Self::Used => a.used_computers.cmp(&b.used_computers),
            Self::Created => a.created_on.cmp(&b.created_on),
        };
        by_key.then_with(|| a.username.cmp(&b.username))
    }
}

impl Totals {
    /// Of these.
    #[must_use]
    pub fn of(users: &[User]) -> Self {
        users.iter().fold(Self::default(), |sum, user| Self {
            users: sum.users + 1,
            active: sum.active + u64::from(user.active),
            allotted_computers: sum.allotted_computers.saturating_add(user.allotted_computers),
            used_computers: sum.used_computers.saturating_add(user.used_computers),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::{FutureExt, future::join_all};
    use tokio::sync::Notify;

    use super::*;
    use crate::domain::ManualClock;

    #[tokio::test]
    async fn those_who_ask_at_once_share_a_failure() {
        let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let directory = UserListCache::new(clock, Duration::from_mins(1));
        let calls = AtomicUsize::new(0);
        let over = Notify::new();
        let ask = |refresh| {
            directory.list(refresh, async {
                calls.fetch_add(1, Ordering::SeqCst);
                over.notified().await;
                Err(UserListError::Shape)
            })
        };
        let mut asked: Vec<_> = [false, true, false, true].map(|refresh| Box::pin(ask(refresh))).into();
        // All are there before the first of them is answered.
        assert!(asked.iter_mut().all(|call| call.now_or_never().is_none()));
        over.notify_one();
        let told: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(matches!(
            told[..],
            [UserListError::Shape, UserListError::Failed, UserListError::Failed, UserListError::Failed]
        ));
        // Who comes later asks anew.
        over.notify_one();
        assert!(matches!(ask(false).await, Err(UserListError::Shape)));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
