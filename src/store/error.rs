//! What can go wrong with a store, told so that an operator knows what to do.

use std::fmt;
use std::path::PathBuf;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, read or written now; later it may.
    #[error("failed to {doing}: {source}")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// What the engine said.
        source: Engine,
    },
    /// Another process has the SQLite file.
    #[error(
        "failed to open the database file {}: {owner} has it; an SQLite file belongs to one process at a time, so stop \
         that one first, or use PostgreSQL for several",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The other process.
        owner: String,
    },
    /// It cannot be opened.
    #[error("failed to {what} {place}: {cause}; {remedy}")]
    Unopened {
        /// The operation.
        what: &'static str,
        /// The file, or the servers.
        place: String,
        /// The reason.
        cause: String,
        /// The thing to do.
        remedy: String,
    },
    /// It holds something that this program cannot have written.
    #[error("failed to read the store: {0}")]
    Corrupt(String),
    /// Its schema was made by a newer program.
    #[error(
        "failed to open the store: its schema has version {found}, this program knows versions up to {known}; \
         run the newer remgate that made it, or restore a backup from before"
    )]
    NewerSchema {
        /// What was found.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// A migration failed; nothing of it remains.
    #[error("failed to bring the store's schema up to date: {0}")]
    Migration(String),
}

impl StoreError {
    /// Something that the engine said while we were `doing` this.
    pub(super) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| match source {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt(Engine(source).to_string())
            }
            source => Self::Unavailable { doing, source: Engine(source) },
        }
    }
}

/// What an engine said. Wraps its error so that no other room depends on the SQL library.
#[derive(Debug)]
pub struct Engine(pub(super) sqlx::Error);

impl Engine {
    pub(super) fn text(error: &sqlx::Error) -> String {
        match error {
            sqlx::Error::PoolTimedOut => "no connection became free in time; is the database up?".to_owned(),
            sqlx::Error::Io(e) => format!("connection: {e}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::text(&self.0))
    }
}

impl std::error::Error for Engine {}
