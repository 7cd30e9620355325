//! Cached list of the users of the reseller account, with filters, orders and totals.

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

/// Cache of upstream's list. Concurrent requests share one call.
///
/// Written by hand: a refresh may share only a call that began after it, which the usual caches cannot express.
pub struct UserListCache {
    clock: Arc<dyn Clock>,
    keep: Duration,
    begun: AtomicU64,
    ended: AtomicU64,
    last: Mutex<Option<Last>>,
}

/// Number of the last call.
#[derive(Debug)]
struct Last {
    number: u64,
    /// List of the last call; `None` if it failed.
    listing: Option<Listing>,
}

/// User, in remgate's own JSON form. `Debug` shows no personal data.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// User name at `RemotePC`, usually an e-mail address.
    pub username: String,
    /// True if the user may sign in.
    pub active: bool,
    /// Maximum number of computers of the user.
    pub allotted_computers: u64,
    /// Number of computers that the user has set up.
    pub used_computers: u64,
    /// Day of the creation, if upstream has it, without a time zone.
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
    /// Only users whose name contains this text, ignoring case.
    pub name: Option<String>,
    /// Only users who may sign in, or only the others.
    pub active: Option<bool>,
}

/// Sort key of a list. The name decides between equals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortBy {
    /// By name.
    #[default]
    Username,
    /// Maximum number of computers.
    Allotted,
    /// Number of computers that were set up.
    Used,
    /// Day of the creation, unknown ones first.
    Created,
}

/// Totals of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Its users.
    pub users: u64,
    /// Number of users that may sign in.
    pub active: u64,
    /// Sum of the maximum numbers of computers.
    pub allotted_computers: u64,
    /// Sum of the numbers of computers that were set up.
    pub used_computers: u64,
}

/// Upstream's list at one time.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Users, in upstream's order.
    pub users: Arc<[User]>,
    /// Time of the call.
    pub as_of: Timestamp,
}

/// Reason why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum UserListError {
    /// Upstream refused with these error codes.
    #[error("upstream refused to list users: {}", .0.join(", "))]
    Refused(Vec<String>),
    /// A shared call failed.
    #[error("upstream could not list users a moment ago")]
    Failed,
    /// Upstream's list is not what its document shows.
    #[error("upstream's list does not have the documented shape")]
    Shape,
}

impl UserListCache {
    /// Returns a cache that keeps a list for `fresh`; with zero every request calls upstream.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        let begun = AtomicU64::new(0);
        let ended = AtomicU64::new(0);
        Self { clock, keep, begun, ended, last: Mutex::new(None) }
    }

    /// Returns the cached list while it is fresh, or calls `ask` when it is not or `refresh` is true. Concurrent requests share the
    /// result of one call, also a failure: a failing upstream is called once for all of them. A refresh may share a call that began after it.
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
