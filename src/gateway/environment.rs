//! Environment of a gateway besides its configuration, and the location of its store.

use std::sync::Arc;

use crate::config::Database;
use crate::domain::{Clock, RandomSource, SystemClock};
use crate::resolver::{Resolve, SystemResolver};
use crate::store::Location;

/// Sources of time, randomness and addresses: the machine's, or a test's.
#[derive(Clone)]
pub struct Environment {
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness.
    pub rng: RandomSource,
    /// Resolves the names of receivers, of their proxy, and of the reseller API.
    pub resolver: Arc<dyn Resolve>,
}

impl Environment {
    /// The machine's own.
    #[must_use]
    pub fn real() -> Self {
        let resolver = Arc::new(SystemResolver::default());
        Self { clock: Arc::new(SystemClock), rng: RandomSource::from_os(), resolver }
    }
}

/// Location of the configured store.
pub(super) fn location(database: &Database) -> Location {
    match database {
        Database::Sqlite(path) => Location::Sqlite(path.clone()),
        Database::Postgres(url) => Location::Postgres(url.clone()),
    }
}
