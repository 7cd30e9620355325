//! Damaged files: noticed at the start where that is quick, and at the first statement that meets damage. SQLite itself refuses a file
//! that is no database, or shorter than its header says.

use std::path::Path;
use std::sync::atomic::Ordering;

use sqlx::sqlite::SqliteConnection;

use super::super::unopened::DAMAGED;
use super::file::OpenedFile;

/// Files up to this size are checked as a whole at the start; that takes less than a second.
const CHECKED_WHOLE: u64 = 64 * 1024 * 1024;

/// Fails when the file is damaged, as far as that can be found quickly.
pub(super) async fn check(path: &Path, connection: &mut SqliteConnection) -> sqlx::Result<()> {
    if path.metadata().map_err(sqlx::Error::Io)?.len() <= CHECKED_WHOLE {
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
        if found != "ok" {
            return Err(sqlx::Error::Configuration(
                format!("it is damaged: {}", found.replace('\n', " ")).into(),
            ));
        }
    }
    Ok(())
}

/// Records damage, and logs it the first time.
pub(super) fn notice(target: &OpenedFile, error: &sqlx::Error) {
    if is_damage(error) && !target.is_damaged.swap(true, Ordering::Relaxed) {
        tracing::error!(file = %target.path.display(), %error, "the database file is damaged; {DAMAGED}");
    }
}

fn is_damage(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    // SQLITE_CORRUPT and SQLITE_NOTADB, with their extended codes.
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}
