//! Differences of the engines, and helpers for the code that is the same on both.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Database;
use sqlx::query::Query;
use tokio_util::sync::CancellationToken;

use super::StoreError;
use super::statements::Dialect;
use crate::notifier::Notifier;

/// Value that an engine takes as a parameter and returns in a row.
///
/// Blanket trait: as a supertrait of [`Backend`] it need not be repeated where a store is implemented,
/// as bounds on sqlx's own traits would have to be.
pub trait Scalar<T>: Database {
    /// Adds a parameter.
    fn bind(query: Statement<Self>, value: T) -> Statement<Self>;
    /// Reads a column.
    fn get(row: &Self::Row, column: &'static str) -> Result<T, sqlx::Error>;
}

/// Statement with its parameters.
pub(super) type Statement<B> = Query<'static, B, <B as Database>::Arguments>;

impl<DB, T> Scalar<T> for DB
where
    DB: Database,
    T: for<'q> sqlx::Encode<'q, DB> + for<'r> sqlx::Decode<'r, DB> + sqlx::Type<DB>,
    for<'c> &'c str: sqlx::ColumnIndex<DB::Row>,
{
    fn bind(query: Statement<Self>, value: T) -> Statement<Self> {
        query.bind(value)
    }

    fn get(row: &Self::Row, column: &'static str) -> Result<T, sqlx::Error> {
        sqlx::Row::try_get(row, column)
    }
}

/// Database engine: everything that differs between SQLite and PostgreSQL.
pub trait Backend:
    Database
    + Scalar<i64>
    + Scalar<bool>
    + Scalar<String>
    + Scalar<Vec<u8>>
    + Scalar<Option<i64>>
    + Scalar<Option<String>>
    + Scalar<Option<Vec<u8>>>
    + Sized
{
    /// Statements whose text differs.
    const DIALECT: Dialect;
    /// Statement that begins a writing transaction.
    const BEGIN: &'static str;
    /// Statement that commits it, and returns when it is on disk.
    const COMMIT: &'static str;
    /// Statement that begins a transaction whose loss in a power cut only repeats work.
    const BEGIN_ASYNC_COMMIT: &'static str;
    /// Statement that commits it without waiting for the disk.
    const ASYNC_COMMIT: &'static str;

    /// Maximum time for an append. A connection that takes longer is given up: on PostgreSQL it may lead to no server, while
    /// on SQLite the next one would wait for the same disk.
    const APPEND_TIMEOUT: Duration;
    /// Maximum time for an operation that no request waits for.
    const BACKGROUND_TIMEOUT: Duration;

    /// True if a store belongs to one process at a time, so that leases found at its start are stale.
    const SOLE_OWNER: bool;

    /// State of the engine besides its connections.
    type Target: Send + Sync + std::fmt::Debug + 'static;

    /// Runs a command that has no parameters and gives no rows.
    fn command<'c>(conn: &'c mut Self::Connection, text: &'static str) -> BoxFuture<'c, sqlx::Result<()>>;

    /// Checks a connection with a round trip.
    fn ping(conn: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;

    /// Opens a connection for writing.
    fn connect(target: &Self::Target) -> BoxFuture<'_, sqlx::Result<Self::Connection>>;

    /// Returns whether a connection of this age may lead to a server that is no longer the one to use.
    fn is_outdated(target: &Self::Target, age: Duration) -> bool;

    /// Ends when all connections become outdated.
    fn renewal(target: &Self::Target) -> BoxFuture<'_, ()>;

    /// Prepares a new connection for writing.
    fn prepare_writer(conn: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;

    /// Runs a statement and returns its rows.
    fn rows(
        conn: &mut Self::Connection,
        query: Statement<Self>,
    ) -> BoxFuture<'_, sqlx::Result<Vec<Self::Row>>>;

    /// Runs a statement and returns the number of rows that it changed.
    fn run(conn: &mut Self::Connection, query: Statement<Self>) -> BoxFuture<'_, sqlx::Result<u64>>;

    /// Releases the database after its connections were closed.
    fn release(target: &Self::Target);

    /// Fails when the database is no longer the one that was opened.
    fn check_place(target: &Self::Target) -> sqlx::Result<()>;

    /// Returns whether a statement waited too long for a lock of another transaction.
    fn is_lock_timeout(error: &sqlx::Error) -> bool;

    /// Fails when what a connection writes would be lost, because its log was removed.
    fn check_log(target: &Self::Target) -> sqlx::Result<()>;

    /// Saves what a connection has written after [`check_log`](Self::check_log) failed. The connection is dropped then.
    ///
    /// # Errors
    /// The error of the check or of the engine. The store stays unavailable, and the next write tries again.
    fn rescue<'c>(
        target: &'c Self::Target,
        conn: &'c mut Self::Connection,
        error: sqlx::Error,
    ) -> BoxFuture<'c, sqlx::Result<()>>;

    /// Inspects the error of a statement, which may show that the store is damaged.
    fn notice(target: &Self::Target, error: &sqlx::Error);

    /// Fails after damage was noticed.
    fn check_whole(target: &Self::Target) -> sqlx::Result<()>;

    /// Passes on announcements of processes other than `process`, until cancelled.
    fn listen<'a>(
        target: &'a Self::Target,
        process: &'a str,
        notifier: &'a Notifier,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()>;
}

/// Maximum time for an operation of a request, which is answered with 503 then.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(3500);

/// Error of an operation that exceeded its time limit.
pub(super) fn late(limit: Duration) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {limit:?}")))
}

/// Runs an operation of a request with its time limit, and names it in its error.
pub(super) async fn with_deadline<T>(
    doing: &'static str,
    operation: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, StoreError> {
    within(OPERATION_TIMEOUT, doing, operation).await
}

/// Runs an operation with a time limit, and names it in its error.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    operation: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(limit, operation).await;
    outcome.unwrap_or_else(|_| Err(late(limit))).map_err(StoreError::while_doing(doing))
}

/// Builds a statement from its text and its parameters, in order.
macro_rules! statement {
    ($engine:ty, $text:expr $(, $value:expr)* $(,)?) => {{
        let query = sqlx::query::<$engine>($text);
        $crate::store::backend::bind!($engine, query $(, $value)*)
    }};
}
pub(super) use statement;

/// Adds further parameters to a statement, in order.
macro_rules! bind {
    ($engine:ty, $query:expr $(, $value:expr)* $(,)?) => {{
        let query = $query;
        $(let query = <$engine as $crate::store::backend::Scalar<_>>::bind(query, $value);)*
        query
    }};
}
pub(super) use bind;
