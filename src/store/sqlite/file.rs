//! The database file: its identity, its lock, and the options of connections.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use super::super::file_lock::FileLock;
use super::super::renewals::Renewals;
use super::wal::WriteAheadLog;

/// Size in bytes to which the write-ahead log shrinks when it is restarted: 16 MB.
const JOURNAL_SIZE_LIMIT: &str = "16777216";

/// Maximum time to wait for the writer, or for a reader.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opened file: its path and identity.
#[derive(Debug)]
pub struct OpenedFile {
    pub(super) path: PathBuf,
    device_and_inode: (u64, u64),
    lock: Mutex<Option<Arc<FileLock>>>,
    /// True if a statement has met damage.
    pub(super) is_damaged: AtomicBool,
    pub(super) wal: WriteAheadLog,
    pub(super) renewals: Renewals,
}

impl OpenedFile {
    pub(super) fn new(path: &Path, device_and_inode: (u64, u64), lock: Arc<FileLock>) -> Self {
        let lock = Mutex::new(Some(lock));
        Self {
            path: path.to_owned(),
            device_and_inode,
            lock,
            is_damaged: AtomicBool::new(false),
            wal: WriteAheadLog::of(path),
            renewals: Renewals::new(),
        }
    }

    /// Fails when the file was removed or replaced: SQLite still has the old one open, takes writes as before and loses
    /// them.
    pub(super) fn check_place(&self) -> sqlx::Result<()> {
        match self.path.metadata() {
            Ok(found) if (found.dev(), found.ino()) == self.device_and_inode => Ok(()),
            Ok(_) => Err(sqlx::Error::Io(io::Error::other("the database file was replaced by another"))),
            Err(e) => {
                Err(sqlx::Error::Io(io::Error::new(e.kind(), format!("the database file is gone: {e}"))))
            }
        }
    }

    /// Releases the lock of the file.
    pub(super) fn release(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Creates the file if it is missing, readable by its owner alone, since it holds secrets. Returns device and inode. The file is
/// closed before SQLite opens it: closing it later would release SQLite's own locks.
pub(super) fn make_file(path: &Path) -> io::Result<(u64, u64)> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}

/// Options that all connections share.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // Errors instead of rows that are left out where a page is damaged.
        .pragma("cell_size_check", "ON")
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}
