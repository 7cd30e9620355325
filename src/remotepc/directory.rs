//! The users of our reseller account as people want to see them: kept for a while, filtered, sorted, counted.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{Answer, ResellerUser};
use crate::domain::Clock;

/// Keeps upstream's list for a while. Those who ask at the same time share one call.
pub struct Directory {
    clock: Arc<dyn Clock>,
    keep: Duration,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    listing: Listing,
    read_at: Instant,
}

/// One user, in our own spelling. `Debug` shows neither name nor anything else of theirs.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Their name at `RemotePC`, as a rule their e-mail address.
    pub username: String,
    /// Whether they may sign in.
    pub active: bool,
    /// How many computers they may set up.
    pub allotted_computers: u64,
    /// How many they have set up.
    pub used_computers: u64,
    /// Since when they have been there, if upstream says so: a day, without a time zone.
    pub created_on: Option<Date>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User(..)")
    }
}

/// Whom somebody asks for.
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

/// What a list comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Its users.
    pub users: u64,
    /// Those of them who may sign in.
    pub active: u64,
    /// The computers that they may set up.
    pub allotted_computers: u64,
    /// The computers that they have set up.
    pub used_computers: u64,
}

/// What upstream's list said at a time.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Its users, in upstream's order.
    pub users: Arc<[User]>,
    /// When upstream was asked.
    pub as_of: Timestamp,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Upstream refused, in these words.
    #[error("upstream refused to list users: {}", .0.join(", "))]
    Refused(Vec<String>),
    /// Upstream's list is not what its document shows.
    #[error("upstream's list does not have the documented shape")]
    Shape,
}

impl Directory {
    /// A directory that keeps a list for so long; no time at all = every look asks upstream.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self { clock, keep, kept: Mutex::new(None) }
    }

    /// The list: the kept one as long as it is fresh, and upstream's own when `refresh` asks for it: only then `ask` is
    /// begun. What went wrong is not kept.
    pub async fn list<E: From<DirectoryError>>(
        &self,
        refresh: bool,
        ask: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Listing, E> {
        let asked_at = self.clock.instant();
        let mut kept = self.kept.lock().await;
        if let Some(known) = kept.as_ref() {
            let age = Duration::try_from(self.clock.now().duration_since(known.listing.as_of));
            // A clock that was set back makes it old: nobody knows how old it is.
            let fresh = age.is_ok_and(|age| age < self.keep);
            // One that came while we waited for our turn is as good as one of our own.
            if (!refresh && fresh) || known.read_at > asked_at {
                return Ok(known.listing.clone());
            }
        }
        let as_of = self.clock.now();
        let answer = ask.await?;
        if !answer.is_success() {
            return Err(DirectoryError::Refused(answer.error_words()).into());
        }
        let users = answer.users().map_err(|_| DirectoryError::Shape)?;
        let users: Arc<[User]> = users.into_iter().map(User::from).collect();
        let listing = Listing { users, as_of };
        *kept = Some(Kept { listing: listing.clone(), read_at: self.clock.instant() });
        Ok(listing)
    }

    /// Forgets what is kept: somebody was added or invited.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }
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
    /// Those who fit, sorted.
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
    fn compare(self, a: &User, b: &User) -> Ordering {
        let by_key = match self {
            Self::Username => Ordering::Equal,
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
