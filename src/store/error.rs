//! Errors of a store, with advice for operators.

use std::fmt;
use std::path::PathBuf;

/// Error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, read or written at present.
    #[error("failed to {doing}: {source}")]
    Unavailable {
        /// Operation.
        doing: &'static str,
        /// Error of the engine.
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
    /// The store cannot be opened.
    #[error("failed to {what} {place}: {cause}; {remedy}")]
    Unopened {
        /// The operation.
        what: &'static str,
        /// Path of the file, or addresses of the servers.
        place: String,
        /// The reason.
        cause: String,
        /// The thing to do.
        remedy: String,
    },
    /// The store holds a value that this program cannot have written.
    #[error("failed to read the store: {0}")]
    Corrupt(String),
    /// A newer program made the schema.
    #[error(
        "failed to open the store: its schema has version {found}, this program knows versions up to {known}; \
         run the newer remgate that made it, or restore a backup from before"
    )]
    NewerSchema {
        /// Version of the schema.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// A migration failed; nothing of it remains.
    #[error("failed to bring the store's schema up to date: {0}")]
    Migration(String),
}

impl StoreError {
    /// Returns the error of an engine during an operation.
    pub(super) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| match source {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt(Engine(source).to_string())
            }
            source => Self::Unavailable { doing, source: Engine(source) },
        }
    }
}

/// Error of an engine. Wraps the error of the SQL library, so that no other module depends on it.
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
