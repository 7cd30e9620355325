//! PostgreSQL: a server that several replicas may share.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
pub use sqlx::Postgres;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Statement, late};
use super::lane::{Connections, Lane};
use super::statements::{Dialect, POSTGRES};
use super::{SqlStore, StoreError, migrations};
use crate::telemetry::log_waiting;
use crate::wake::Wake;

impl Backend for Postgres {
    const DIALECT: Dialect = POSTGRES;
    const BEGIN: &'static str = "BEGIN";
    const BEGIN_LAX: &'static str = "BEGIN; SET LOCAL synchronous_commit = off";
    const SOLE_OWNER: bool = false;

    type Place = PgPool;

    fn command<'c>(conn: &'c mut PgConnection, text: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move { conn.execute(text).await.map(drop) })
    }

    /// A server may be told not to wait for its disk at COMMIT. We promise that an acknowledged event is on disk, so our
    /// connections wait in any case; a stricter setting than `on` is left alone.
    ///
    /// And all that a writer does is to look up some rows by their key. The planner, which knows nothing of a table that
    /// has just begun to grow, would plan to read the whole of it, and keep to that; here it may not.
    fn prepare_writer(conn: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(async move {
            require_primary(conn).await?;
            Self::command(
            conn,
            "SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
            SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
            SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        )
            .await
        })
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

    fn release(_: &PgPool) {}

    fn check_place(_: &PgPool) -> sqlx::Result<()> {
        Ok(())
    }

    fn listen<'a>(
        place: &'a PgPool,
        process: &'a str,
        wake: &'a Wake,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            while stop.run_until_cancelled(listen_until_lost(place, process, wake)).await.is_some() {
                tracing::warn!("lost the connection that listens for other replicas; will listen again");
                stop.run_until_cancelled(tokio::time::sleep(LISTEN_AGAIN)).await;
            }
        })
    }
}

/// Waits for announcements. What came while nobody listened is covered by waking everybody once on each connection.
async fn listen_until_lost(pool: &PgPool, process: &str, wake: &Wake) {
    let Ok(mut listener) = PgListener::connect_with(pool).await else { return };
    if listener.listen("remgate").await.is_err() {
        return;
    }
    wake.others_stored();
    loop {
        // `try_recv` says that the connection broke, where `recv` would hide it and what was missed with it.
        match tokio::time::timeout(QUIET, listener.try_recv()).await {
            // Those who wait here were woken when the commit was done.
            Ok(Ok(Some(announced))) if announced.payload() == process => {}
            Ok(Ok(Some(_))) => wake.others_stored(),
            Ok(Ok(None) | Err(_)) => return,
            // Quiet for long: a connection that was lost without a word looks the same.
            Err(_) => match tokio::time::timeout(PATIENCE, is_primary(&mut listener)).await {
                Ok(Ok(true)) => {}
                Ok(_) | Err(_) => return,
            },
        }
    }
}

/// Whether the listener's server takes writes: only that one announces anything.
async fn is_primary(listener: &mut PgListener) -> sqlx::Result<bool> {
    let query =
        "SELECT NOT (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean)";
    sqlx::query_scalar(query).fetch_one(listener).await
}

impl SqlStore<Postgres> {
    /// Connects to the server and brings the schema up to date.
    pub async fn open(url: &SecretString, process: &str) -> Result<Self, StoreError> {
        let connecting = StoreError::while_doing("connect to PostgreSQL");
        let options = options(url).map_err(&connecting)?;
        let mut conn = log_waiting("PostgreSQL to answer", glance(url)).await?;
        let migrating = migrations::POSTGRES.run(&mut conn);
        let what = "the schema to be brought up to date; another process may hold the lock of the migrations";
        log_waiting(what, migrating).await.map_err(migrations::failed(&migrations::POSTGRES))?;
        conn.close().await.map_err(&connecting)?;
        let pool = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(PATIENCE)
                .test_before_acquire(false)
                .max_lifetime(READER_LIFETIME)
                .after_connect(|conn, _| Box::pin(require_primary(conn)))
                .before_acquire(|conn, state| {
                    Box::pin(async move {
                        Ok(state.idle_for < CHECK_AFTER || require_primary(conn).await.is_ok())
                    })
                })
                .connect_lazy_with(options.clone())
        };
        // The listener has a pool of its own, so that it never takes a connection from those who answer.
        let place = Arc::new(pool(1));
        let lane = || Lane::new(options.clone(), Arc::clone(&place));
        let at = Connections {
            readers: pool(READERS),
            lookers: pool(LOOKERS),
            append: lane(),
            dispatch: lane(),
            rest: lane(),
            place,
        };
        Ok(Self::new(at, process))
    }
}

/// One connection. Directly, not through a pool: a pool would wait long and then hide why.
pub(super) async fn glance(url: &SecretString) -> Result<PgConnection, StoreError> {
    let connecting = StoreError::while_doing("connect to PostgreSQL");
    let options = options(url).map_err(&connecting)?;
    let first = tokio::time::timeout(PATIENCE, options.connect()).await;
    first.unwrap_or_else(|_| Err(late(PATIENCE))).map_err(&connecting)
}

/// Time after which a connection for reading is made anew. After a failover, connections to the old primary may live on at a server
/// that answers and knows nothing new.
const READER_LIFETIME: Duration = Duration::from_secs(5);
/// A connection for reading that lay idle for so long is asked first whether its server is the primary.
const CHECK_AFTER: Duration = Duration::from_millis(500);

/// Fails when the server does not take writes: it is a standby, or was the primary before a failover.
async fn require_primary(conn: &mut PgConnection) -> sqlx::Result<()> {
    let query = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean";
    let read_only: bool = sqlx::query_scalar(query).fetch_one(conn).await?;
    if read_only {
        return Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            "the server is read-only: a standby, or the primary of before a failover",
        )));
    }
    Ok(())
}

const READERS: u32 = 8;
/// How many may read for dispatch at once.
const LOOKERS: u32 = 2;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time without an announcement after which the connection is asked whether it still is one, to the primary.
const QUIET: Duration = Duration::from_secs(2);
/// How long to wait before listening again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

fn options(url: &SecretString) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    Ok(options.application_name("remgate").disable_statement_logging())
}
