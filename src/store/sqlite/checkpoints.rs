//! Checkpoints of the write-ahead log.
//!
//! SQLite moves pages of the log into the file by itself, but begins the log anew only at a moment without readers.
//! Beside readers that follow each other without a gap the log grows without end, and it never shrinks. So its size
//! is checked each second. When it is large, or has rested, its pages are moved, which delays no other statement;
//! when all of them could be moved, the log is emptied, which delays writers by [`BUSY_TIMEOUT`] at most.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use tokio_util::sync::CancellationToken;

use super::file::{OpenedFile, options};

/// Interval of the checks.
const EVERY: Duration = Duration::from_secs(1);
/// Size in bytes from which a log is emptied also while it is written. SQLite itself moves pages at 16 MB.
const LARGE: u64 = 32 * 1024 * 1024;
/// Size in bytes from which a log is emptied when it was not written for one interval.
const SMALL: u64 = 1024 * 1024;
/// Maximum time for which emptying waits for readers while writers wait for it.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum number of pages that may have been written since the others were moved.
const LAG: i64 = 1_000;

/// Size of the log and time of its last change.
type Seen = Option<(u64, SystemTime)>;

/// Runs until it is stopped.
pub(super) async fn run(target: &OpenedFile, stop: &CancellationToken) {
    let mut wal = target.path.clone().into_os_string();
    wal.push("-wal");
    let wal = PathBuf::from(wal);
    let mut before = look(&wal);
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let seen = look(&wal);
        let size = seen.map_or(0, |(size, _)| size);
        let has_rested = seen == before && size > SMALL;
        before = seen;
        if size < LARGE && !has_rested {
            continue;
        }
        if let Err(error) = empty(target).await {
            tracing::debug!(%error, size, "the write-ahead log could not be emptied; trying again");
        }
    }
}

fn look(wal: &PathBuf) -> Seen {
    let found = std::fs::metadata(wal).ok()?;
    Some((found.len(), found.modified().ok()?))
}

async fn empty(target: &OpenedFile) -> sqlx::Result<()> {
    let connecting = options(&target.path).busy_timeout(BUSY_TIMEOUT);
    let mut connection = SqliteConnection::connect_with(&connecting).await?;
    let moved = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut connection).await?;
    let pages: i64 = moved.try_get(1)?;
    let moved: i64 = moved.try_get(2)?;
    // A reader that began long ago, such as a backup, keeps the rest: waiting for it would hold up writers for nothing.
    if pages - moved < LAG {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
    }
    connection.close().await
}
