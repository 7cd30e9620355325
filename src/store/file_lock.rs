//! Lock of an SQLite file, which belongs to one process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Time to wait for a process that is about to end.
const WAIT: Duration = Duration::from_secs(2);

/// Time between two tries.
const INTERVAL: Duration = Duration::from_millis(50);

/// Exclusive lock, released on drop. The system releases it when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct FileLock(File);

/// Failure to take the lock.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it.
    Held {
        /// Text of the other process in the lock file.
        owner: String,
    },
    /// The lock file cannot be used.
    Io(io::Error),
}

impl FileLock {
    /// Locks the database file at `path` by a lock file beside it. Locking the file itself would not do: closing it would also release
    /// SQLite's own locks. Links to the same file share the lock.
    /// Stores of one process share the lock.
    pub(super) async fn take(path: &Path) -> Result<Arc<Self>, LockError> {
        let path = lock_path(path);
        if let Some(held) = registry().get(&path).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let lock = Arc::new(Self::take_from_others(&path).await?);
        registry().insert(path, Arc::downgrade(&lock));
        Ok(lock)
    }

    async fn take_from_others(path: &Path) -> Result<Self, LockError> {
        let file = open(path).map_err(LockError::Io)?;
        let tries = WAIT.as_millis() / INTERVAL.as_millis();
        for _ in 0..tries {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Self::signed(file).map_err(LockError::Io),
                Err(Errno::WOULDBLOCK) => tokio::time::sleep(INTERVAL).await,
                Err(e) => return Err(LockError::Io(e.into())),
            }
        }
        Err(LockError::Held { owner: owner(file) })
    }

    /// Writes the name of this process into the lock file.
    fn signed(mut file: File) -> io::Result<Self> {
        let node = rustix::system::uname();
        let process = std::process::id();
        let host = node.nodename().to_string_lossy();
        file.set_len(0)?;
        write!(file, "process {process} on {host}")?;
        Ok(Self(file))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Locks of this process.
fn registry() -> MutexGuard<'static, HashMap<PathBuf, Weak<FileLock>>> {
    static HELD: LazyLock<Mutex<HashMap<PathBuf, Weak<FileLock>>>> = LazyLock::new(Mutex::default);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|_, lock| lock.strong_count() > 0);
    held
}

/// Returns `PATH-lock`, where `PATH` is the canonical path of the file.
fn lock_path(path: &Path) -> PathBuf {
    let own = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = own.into_os_string();
    name.push("-lock");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Returns the process that has the lock, according to the lock file.
fn owner(mut file: File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let process = if read.is_ok() && !text.is_empty() { text } else { "another process".to_owned() };
    let since = file.metadata().and_then(|found| found.modified()).ok();
    match since.and_then(|since| Timestamp::try_from(since).ok()) {
        Some(since) => format!("{process}, since {since:.0}"),
        None => process,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_lock_says_who_has_the_first_also_by_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        let link = folder.path().join("b.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let first = FileLock::take(&path).await.unwrap();
        for name in [&path, &link] {
            let taken = FileLock::take_from_others(&lock_path(name)).await;
            let Err(LockError::Held { owner }) = taken else { panic!("taken twice") };
            assert!(owner.starts_with(&format!("process {} on ", std::process::id())), "{owner}");
        }
        drop(first);
        FileLock::take(&link).await.unwrap();
    }
}
