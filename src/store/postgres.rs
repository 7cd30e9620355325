//! PostgreSQL, which several replicas may share.

mod primary;
mod session;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
pub use sqlx::Postgres;
use sqlx::postgres::{PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{Connection, Executor};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Statement};
use super::statements::{Dialect, POSTGRES};
use super::write_connection::{Connections, WriteConnection};
use super::{SqlStore, StoreError, migrations, unopened};
use crate::domain::{PostgresUrl, RandomSource};
use crate::notifier::Notifier;
use crate::telemetry::log_waiting;
use primary::{Primary, require_primary};

impl Backend for Postgres {
    const DIALECT: Dialect = POSTGRES;
    const BEGIN: &'static str = "BEGIN";
    const COMMIT: &'static str = "COMMIT";
    const BEGIN_ASYNC_COMMIT: &'static str =
        "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '100ms'";
    const ASYNC_COMMIT: &'static str = "COMMIT";
    const SOLE_OWNER: bool = false;
    const APPEND_TIMEOUT: Duration = Duration::from_millis(2500);
    const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(4);

    type Target = Primary;

    fn command<'c>(conn: &'c mut PgConnection, text: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move { conn.execute(text).await.map(drop) })
    }

    fn connect(target: &Primary) -> BoxFuture<'_, sqlx::Result<PgConnection>> {
        Box::pin(target.connect())
    }

    fn is_outdated(target: &Primary, age: Duration) -> bool {
        target.renewals().is_outdated(age)
    }

    fn renewal(target: &Primary) -> BoxFuture<'_, ()> {
        Box::pin(target.renewals().next())
    }

    fn prepare_writer(conn: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(session::prepare_writer(conn))
    }

    fn ping(conn: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(Connection::ping(conn))
    }

    fn rows(conn: &mut PgConnection, query: Statement<Self>) -> BoxFuture<'_, sqlx::Result<Vec<PgRow>>> {
        conn.fetch_all(query)
    }

    fn run(conn: &mut PgConnection, query: Statement<Self>) -> BoxFuture<'_, sqlx::Result<u64>> {
        Box::pin(async move { Ok(conn.execute(query).await?.rows_affected()) })
    }

    fn release(_: &Primary) {}

    fn notice(_: &Primary, _: &sqlx::Error) {}

    fn check_whole(_: &Primary) -> sqlx::Result<()> {
        Ok(())
    }

    fn check_place(_: &Primary) -> sqlx::Result<()> {
        Ok(())
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
    }

    fn check_log(_: &Primary) -> sqlx::Result<()> {
        Ok(())
    }

    fn rescue<'c>(
        _: &'c Primary,
        _: &'c mut PgConnection,
        error: sqlx::Error,
    ) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(std::future::ready(Err(error)))
    }

    fn listen<'a>(
        target: &'a Primary,
        process: &'a str,
        notifier: &'a Notifier,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            while stop.run_until_cancelled(listen_until_lost(target, process, notifier)).await.is_some() {
                target.renew();
                tracing::warn!(
                    "lost the PostgreSQL connection that listens for other replicas, or its server takes no writes; \
                     all connections are made anew"
                );
                stop.run_until_cancelled(tokio::time::sleep(LISTEN_AGAIN)).await;
            }
        })
    }
}

/// Waits for announcements of other processes until the connection is lost or its server no longer takes writes.
///
/// Connections that were made before this one are given up: they may lead elsewhere. Announcements that were missed are
/// made up for by one wake-up of all who wait.
async fn listen_until_lost(primary: &Primary, process: &str, notifier: &Notifier) {
    let begun = async {
        let found = primary.connect().await?;
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(primary.options());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("remgate").await?;
        let _ = found.close().await;
        Ok::<_, sqlx::Error>(listener)
    };
    let Ok(Ok(mut listener)) = tokio::time::timeout(LISTEN_TIMEOUT, begun).await else { return };
    primary.renew();
    notifier.others_stored();
    notifier.endpoints_changed();
    loop {
        // `try_recv` says that the connection broke, where `recv` would hide it and what was missed with it.
        match tokio::time::timeout(QUIET, listener.try_recv()).await {
            // Requests of this process were woken after the commit.
            Ok(Ok(Some(announced))) if announced.payload() == process => {}
            Ok(Ok(Some(announced))) if announced.payload() == ENDPOINTS => notifier.endpoints_changed(),
            Ok(Ok(Some(_))) => notifier.others_stored(),
            Ok(Ok(None) | Err(_)) => return,
            // No announcement: a connection that was lost silently looks the same.
            Err(_) => match tokio::time::timeout(CHECK_TIMEOUT, is_primary(&mut listener)).await {
                Ok(Ok(true)) => {}
                Ok(_) | Err(_) => return,
            },
        }
    }
}

/// Returns whether the listener's server takes writes: only that one announces anything.
async fn is_primary(listener: &mut PgListener) -> sqlx::Result<bool> {
    let query =
        "SELECT NOT (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean)";
    sqlx::query_scalar(query).fetch_one(listener).await
}

impl SqlStore<Postgres> {
    /// Connects to the server and brings the schema up to date.
    ///
    /// # Errors
    /// No server can be reached that takes writes, or the schema is newer than this program.
    pub async fn open(url: &PostgresUrl, rng: &RandomSource) -> Result<Self, StoreError> {
        let primary = Arc::new(Primary::new(url).map_err(unopened::postgres("database.url"))?);
        let target = primary.target();
        let connecting = unopened::postgres(&target);
        let mut conn = log_waiting("PostgreSQL to answer", primary.connect()).await.map_err(&connecting)?;
        require_version(&mut conn, &target).await?;
        let migrating = migrations::POSTGRES.run(&mut conn);
        let what = "the schema to be brought up to date; another process may hold the lock of the migrations";
        log_waiting(what, migrating).await.map_err(migrations::failed(&migrations::POSTGRES))?;
        conn.close().await.map_err(&connecting)?;
        let writer = || WriteConnection::new(Arc::clone(&primary));
        let db = Connections {
            readers: pool(READERS, &primary),
            dispatch_readers: pool(DISPATCH_READERS, &primary),
            append: writer(),
            dispatch: writer(),
            rest: writer(),
            target: Arc::clone(&primary),
        };
        Ok(Self::new(db, rng))
    }
}

/// Connections for reading, always to the primary.
fn pool(connections: u32, primary: &Arc<Primary>) -> PgPool {
    // Not the primary itself, which holds the pool.
    let renewals = primary.renewals().clone();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(primary.connect_timeout().min(ACQUIRE_TIMEOUT))
        .test_before_acquire(false)
        .after_connect(|conn, _| {
            Box::pin(async move {
                require_primary(conn).await?;
                session::prepare_reader(conn).await
            })
        })
        .before_acquire(move |conn, state| {
            let good = !renewals.is_outdated(state.age);
            Box::pin(async move {
                Ok(good && (state.idle_for < CHECK_AFTER || require_primary(conn).await.is_ok()))
            })
        })
        .connect_lazy_with(primary.options());
    primary.guide(pool.clone());
    pool
}

/// Fails when the server is older than the statements need.
async fn require_version(conn: &mut PgConnection, target: &str) -> Result<(), StoreError> {
    let reading = unopened::postgres(target);
    let version: String =
        sqlx::query_scalar("SHOW server_version_num").fetch_one(&mut *conn).await.map_err(&reading)?;
    if version.parse().is_ok_and(|version: u32| version < OLDEST_VERSION) {
        let text = format!("it is PostgreSQL {version}, and remgate needs PostgreSQL 13 or later");
        return Err(reading(sqlx::Error::Configuration(text.into())));
    }
    Ok(())
}

/// PostgreSQL's code for a lock that was not granted in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// PostgreSQL 13, as `server_version_num` says it.
const OLDEST_VERSION: u32 = 130_000;

/// Opens a connection for reading a database.
pub(super) async fn connect_read_only(url: &PostgresUrl) -> Result<PgConnection, StoreError> {
    let primary = Primary::new(url).map_err(unopened::postgres("database.url"))?;
    primary.connect().await.map_err(unopened::postgres(&primary.target()))
}

/// A connection for reading that lay idle for so long is asked first whether its server is the primary.
const CHECK_AFTER: Duration = Duration::from_millis(500);
const READERS: u32 = 8;
/// Maximum number of reads for dispatch at once.
const DISPATCH_READERS: u32 = 2;
/// Maximum time to wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The payload by which a trigger announces that settings of an endpoint have changed.
const ENDPOINTS: &str = "endpoints";
/// Time without an announcement after which the connection is asked whether it still is one, to the primary.
const QUIET: Duration = Duration::from_secs(1);
/// The time that the answer may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The time that the connection which listens may take to be made.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before listening again.
const LISTEN_AGAIN: Duration = Duration::from_millis(250);
