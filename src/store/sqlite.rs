//! SQLite: one file, one writer.

mod checkpoints;
mod damage;
mod file;
mod rescue;
mod wal;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
pub use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Statement};
use super::file_lock::{FileLock, LockError};
use super::statements::{Dialect, SQLITE};
use super::write_connection::{Connections, WriteConnection};
use super::{SqlStore, StoreError, migrations, unopened};
use crate::domain::RandomSource;
use crate::notifier::Notifier;
use crate::telemetry::log_waiting;
use file::{BUSY_TIMEOUT, OpenedFile, make_file, options};

impl Backend for Sqlite {
    const DIALECT: Dialect = SQLITE;
    /// Not deferred: a transaction that reads and then writes would fail at once when another wrote in between.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const COMMIT: &'static str = "COMMIT";
    /// The next commit that waits for the disk takes the pages of this one along.
    const BEGIN_ASYNC_COMMIT: &'static str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";
    const ASYNC_COMMIT: &'static str = "COMMIT; PRAGMA synchronous = FULL";
    const SOLE_OWNER: bool = true;
    const APPEND_TIMEOUT: Duration = Duration::from_secs(8);
    const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(8);

    type Target = OpenedFile;

    fn command<'c>(conn: &'c mut SqliteConnection, text: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move { conn.execute(sqlx::query(text)).await.map(drop) })
    }

    fn connect(target: &OpenedFile) -> BoxFuture<'_, sqlx::Result<SqliteConnection>> {
        target.wal.forget();
        Box::pin(async { SqliteConnection::connect_with(&writer_options(&target.path)).await })
    }

    fn is_outdated(target: &OpenedFile, age: Duration) -> bool {
        target.renewals.is_outdated(age)
    }

    fn renewal(target: &OpenedFile) -> BoxFuture<'_, ()> {
        Box::pin(target.renewals.next())
    }

    fn prepare_writer(_: &mut SqliteConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ping(conn: &mut SqliteConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(Connection::ping(conn))
    }

    fn rows(
        conn: &mut SqliteConnection,
        query: Statement<Self>,
    ) -> BoxFuture<'_, sqlx::Result<Vec<SqliteRow>>> {
        conn.fetch_all(query)
    }

    fn run(conn: &mut SqliteConnection, query: Statement<Self>) -> BoxFuture<'_, sqlx::Result<u64>> {
        Box::pin(async move { Ok(conn.execute(query).await?.rows_affected()) })
    }

    fn check_place(target: &OpenedFile) -> sqlx::Result<()> {
        target.check_place()
    }

    fn is_lock_timeout(_: &sqlx::Error) -> bool {
        false
    }

    fn check_log(target: &OpenedFile) -> sqlx::Result<()> {
        target.wal.check()
    }

    fn rescue<'c>(
        target: &'c OpenedFile,
        conn: &'c mut SqliteConnection,
        error: sqlx::Error,
    ) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(rescue::rescue(target, conn, error))
    }

    fn release(target: &OpenedFile) {
        target.release();
    }

    fn notice(target: &OpenedFile, error: &sqlx::Error) {
        damage::notice(target, error);
    }

    fn check_whole(target: &OpenedFile) -> sqlx::Result<()> {
        if target.is_damaged.load(Ordering::Relaxed) {
            return Err(sqlx::Error::Io(io::Error::other("the database file is damaged, see the log")));
        }
        Ok(())
    }

    /// No other process writes to the file. The write-ahead log is kept small meanwhile.
    fn listen<'a>(
        target: &'a OpenedFile,
        _: &'a str,
        _: &'a Notifier,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()> {
        Box::pin(checkpoints::run(target, stop))
    }
}

impl SqlStore<Sqlite> {
    /// Opens or creates the file, and brings its schema up to date.
    pub async fn open(path: &Path, rng: &RandomSource) -> Result<Self, StoreError> {
        let opening = unopened::sqlite(path);
        let identity = make_file(path).map_err(|e| unopened::file(path, &e))?;
        let lock = log_waiting("another process to give the database file away", FileLock::take(path)).await;
        let lock = lock.map_err(|e| match e {
            LockError::Held { owner } => StoreError::InUse { path: path.to_owned(), owner },
            LockError::Io(e) => unopened::file(path, &e),
        })?;
        let mut conn = SqliteConnection::connect_with(&writer_options(path)).await.map_err(&opening)?;
        damage::check(path, &mut conn).await.map_err(unopened::damaged(path))?;
        let migrating = migrations::SQLITE.run(&mut conn);
        let migrated = log_waiting("the schema to be brought up to date", migrating).await;
        migrated.map_err(migrations::failed(&migrations::SQLITE))?;
        conn.close().await.map_err(&opening)?;
        let target = Arc::new(OpenedFile::new(path, identity, lock));
        let pool = |connections| {
            let renewals = target.renewals.clone();
            SqlitePoolOptions::new()
                .before_acquire(move |_, state| {
                    Box::pin(std::future::ready(Ok(!renewals.is_outdated(state.age))))
                })
                .max_connections(connections)
                .acquire_timeout(BUSY_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_lazy_with(options(path).pragma("query_only", "ON"))
        };
        let writer = WriteConnection::new(Arc::clone(&target));
        let db = Connections {
            readers: pool(READERS),
            dispatch_readers: pool(DISPATCH_READERS),
            append: writer.urgent(),
            dispatch: writer.clone(),
            rest: writer,
            target,
        };
        Ok(Self::new(db, rng))
    }
}

/// Opens a connection that cannot write; `None` when the file does not exist.
pub(super) async fn connect_read_only(path: &Path) -> Result<Option<SqliteConnection>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let looking =
        SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).pragma("query_only", "ON");
    let conn = SqliteConnection::connect_with(&looking.disable_statement_logging()).await;
    conn.map(Some).map_err(unopened::sqlite(path))
}

/// Maximum number of reads at once.
const READERS: u32 = 4;

/// Maximum number of reads for dispatch at once.
const DISPATCH_READERS: u32 = 1;

/// FULL: when COMMIT returns, the write-ahead log is on disk. A larger log than the usual 1,000 pages before it is
/// folded back lets pages that many callbacks touch be written once instead of many times.
fn writer_options(path: &Path) -> SqliteConnectOptions {
    options(path).synchronous(SqliteSynchronous::Full).pragma("wal_autocheckpoint", "4000")
}
