//! The write-ahead log beside the database file. When it is removed by mistake, SQLite goes on writing to a file that no
//! longer has a name, and what it writes is lost at the end of the process.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The log that the writer has open.
#[derive(Debug)]
pub(super) struct WriteAheadLog {
    path: PathBuf,
    /// Device and inode; `None` before the first check of a connection.
    identity: Mutex<Option<(u64, u64)>>,
}

impl WriteAheadLog {
    /// Returns the log of a database file.
    pub(super) fn of(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Self { path: path.into(), identity: Mutex::new(None) }
    }

    /// Forgets the identity: SQLite removes the log when its last connection is closed, and a new one makes another.
    pub(super) fn forget(&self) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails when the log is not the one of the first check. Called while a connection is open that has used it.
    pub(super) fn check(&self) -> sqlx::Result<()> {
        let found = match self.path.metadata() {
            Ok(found) => (found.dev(), found.ino()),
            Err(e) => {
                let text = format!("the write-ahead log {} is gone: {e}", self.path.display());
                return Err(sqlx::Error::Io(io::Error::new(e.kind(), text)));
            }
        };
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if *identity.get_or_insert(found) == found {
            return Ok(());
        }
        let text = format!("the write-ahead log {} was replaced by another file", self.path.display());
        Err(sqlx::Error::Io(io::Error::other(text)))
    }
}
