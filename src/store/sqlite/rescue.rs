//! Recovery after the write-ahead log was removed or replaced.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};

use super::file::OpenedFile;

/// Moves the content of a log that was removed into the database file, and renews all connections, which have it open.
///
/// # Errors
/// `error` when a reader is in the way; the next write tries again.
pub(super) async fn rescue(
    target: &OpenedFile,
    connection: &mut SqliteConnection,
    error: sqlx::Error,
) -> sqlx::Result<()> {
    // A transaction that was given up may still be open.
    let _ = connection.execute("ROLLBACK").await;
    let moved = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?;
    if moved.try_get::<i64, _>(0)? != 0 {
        return Err(error);
    }
    target.renewals.renew();
    tracing::error!(
        file = %target.path.display(), %error,
        "the write-ahead log was removed while remgate runs; its content was moved into the database file and nothing is \
        lost; find out what removes files beside the database"
    );
    Ok(())
}
