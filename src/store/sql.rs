//! The implementation of the store for both engines: reads and maintenance.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Pool;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Scalar, Statement, late, statement, with_deadline, within};
use super::statements::deliveries::RELEASE_ALL;
use super::statements::provisionings::RELEASE_INVITATIONS;
use super::statements::upkeep::{
    CLAMP_EXPECTATIONS, CLAMP_FAILURES, CLAMP_INVITATIONS, CLAMP_LEASES, CLAMP_NEW, CLAMP_PROBES,
    CLAMP_RETRIES, NEWEST_TIME, PROBE,
};
use super::write_connection::Connections;
use super::{StoreError, Upkeep};
use crate::domain::{PROBE_EVERY, RandomSource};
use crate::notifier::Notifier;

/// Store on an SQL engine.
pub struct SqlStore<B: Backend> {
    pub(super) db: Connections<B>,
    /// Name of this process, by which it recognises its own announcements.
    pub(super) process: String,
    /// Makes the ids of events that the store adds by itself.
    pub(super) rng: RandomSource,
    /// Permits for reads of requests, as many as connections.
    turns: Semaphore,
}

impl<B: Backend> SqlStore<B> {
    pub(super) fn new(db: Connections<B>, rng: &RandomSource) -> Self {
        let turns = db.readers.options().get_max_connections();
        let process = format!("{:016x}", u64::from_le_bytes(rng.bytes()));
        Self { db, process, rng: rng.clone(), turns: Semaphore::new(turns as usize) }
    }

    /// Runs a reading statement for a request.
    pub(super) async fn read(
        &self,
        query: impl Fn() -> Statement<B> + Send,
    ) -> Result<Vec<B::Row>, sqlx::Error> {
        // Thousands may wait for a connection at once. Until then each holds no more than this permit.
        let _turn = self.turns.acquire().await.expect("this semaphore is never closed");
        Box::pin(read_from(&self.db.readers, &self.db.target, query)).await
    }

    /// Reads the newest cursor by `head`, and then a page up to it, on one connection: after a failover two connections may be at
    /// two servers, and a cursor of the one would pass over what the other does not have.
    pub(super) async fn read_page(
        &self,
        head: impl Fn() -> Statement<B> + Send + Sync,
        page: impl Fn(i64) -> Statement<B> + Send + Sync,
    ) -> Result<(i64, Vec<B::Row>), sqlx::Error> {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let newest = |rows: &[B::Row]| rows.first().map_or(Ok(0), |row| column::<B, i64>(row, "seq"));
        let page = |rows: &[B::Row]| newest(rows).map(|head| Some(page(head)));
        let (first, rows) = Box::pin(read_both(&self.db.readers, &self.db.target, head, page)).await?;
        Ok((newest(&first)?, rows))
    }

    /// Runs a reading statement for dispatch, which does not wait behind requests.
    pub(super) async fn read_for_dispatch(
        &self,
        query: impl Fn() -> Statement<B> + Send,
    ) -> Result<Vec<B::Row>, sqlx::Error> {
        read_from(&self.db.dispatch_readers, &self.db.target, query).await
    }

    /// Runs one statement that is a transaction by itself.
    pub(super) async fn run_alone(&self, doing: &'static str, query: Statement<B>) -> Result<(), StoreError> {
        with_deadline(doing, async {
            let mut writer = self.db.rest.autocommit().await?;
            B::run(writer.connection(), query).await?;
            writer.finish();
            Ok(())
        })
        .await
    }
}

/// Times that are less than this ahead of the clock are not corrected: clocks of several machines differ.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Invitations that are due later than this are due at once when times are corrected.
const LONGEST_INVITATION_WAIT: Duration = Duration::from_hours(24);

/// Maximum time for the correction, which looks at all that is open.
const CORRECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum time for a reading statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Runs one or two reading statements. Connections are not tested before their use, which would cost a round trip. One that the
/// server has closed fails here, and the next one is tried. One that does not answer is dropped, because the pool would wait
/// for it.
///
/// The second statement, if there is one, is made from the rows of the first, and runs on the same connection.
async fn read_both<B: Backend>(
    pool: &Pool<B>,
    target: &B::Target,
    first: impl Fn() -> Statement<B> + Send,
    second: impl Fn(&[B::Row]) -> sqlx::Result<Option<Statement<B>>> + Send,
) -> sqlx::Result<(Vec<B::Row>, Vec<B::Row>)> {
    let mut tries = pool.options().get_max_connections();
    loop {
        let mut conn = pool.acquire().await?;
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(STATEMENT_TIMEOUT, run_both(&mut *conn, first(), &second)) => outcome,
            () = B::renewal(target) => Ok(Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))),
        };
        match outcome {
            Ok(Err(e)) if tries > 0 && is_gone(&e) => {
                tries -= 1;
                drop(conn.detach());
            }
            Ok(outcome) => {
                if let Err(error) = &outcome {
                    B::notice(target, error);
                }
                return outcome;
            }
            Err(_) => {
                drop(conn.detach());
                return Err(late(STATEMENT_TIMEOUT));
            }
        }
    }
}

async fn read_from<B: Backend>(
    pool: &Pool<B>,
    target: &B::Target,
    query: impl Fn() -> Statement<B> + Send,
) -> Result<Vec<B::Row>, sqlx::Error> {
    Ok(read_both(pool, target, query, |_| Ok(None)).await?.0)
}

async fn run_both<B: Backend>(
    conn: &mut B::Connection,
    first: Statement<B>,
    second: &(impl Fn(&[B::Row]) -> sqlx::Result<Option<Statement<B>>> + Send),
) -> sqlx::Result<(Vec<B::Row>, Vec<B::Row>)> {
    let rows = B::rows(conn, first).await?;
    let second = match second(&rows)? {
        Some(second) => B::rows(conn, second).await?,
        None => Vec::new(),
    };
    Ok((rows, second))
}

/// Every statement of an engine with its name, for the test that prepares them all.
#[must_use]
pub fn statements<B: Backend>() -> Vec<(&'static str, &'static str)> {
    B::DIALECT.all()
}

/// Returns whether the connection was lost.
fn is_gone(e: &sqlx::Error) -> bool {
    match e {
        sqlx::Error::Io(_) => true,
        // PostgreSQL's codes for a connection that an administrator ends.
        sqlx::Error::Database(e) => e.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

#[async_trait]
impl<B: Backend> Upkeep for SqlStore<B> {
    async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        with_deadline("write to the store", async {
            // A statement that is a transaction by itself holds no lock when it is given up.
            B::check_whole(&self.db.target)?;
            let mut writer = self.db.rest.autocommit().await?;
            B::run(writer.connection(), statement!(B, PROBE, now.as_millisecond())).await?;
            writer.finish();
            Ok(())
        })
        .await
    }

    async fn newest_time(&self) -> Result<Option<Timestamp>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read the newest time", async {
            let rows = self.read_for_dispatch(|| statement!(B, NEWEST_TIME)).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let times = ["event", "attempt", "probe"].map(|name| column::<B, Option<i64>>(row, name));
            let times = times.into_iter().collect::<Result<Vec<_>, _>>()?;
            times.into_iter().flatten().max().map(|newest| time("newest", newest)).transpose()
        })
        .await
    }

    async fn correct_times(&self, now: Timestamp, longest_lease: Duration) -> Result<(), StoreError> {
        let after = |wait: Duration| now.checked_add(wait).unwrap_or(Timestamp::MAX).as_millisecond();
        let tolerated = after(CLOCK_TOLERANCE);
        let longest_lease = after(longest_lease);
        let now = now.as_millisecond();
        let mut corrections = vec![
            statement!(B, CLAMP_LEASES, longest_lease),
            statement!(B, CLAMP_NEW, now),
            statement!(B, CLAMP_RETRIES, now, tolerated),
            statement!(B, CLAMP_PROBES, after(PROBE_EVERY)),
            statement!(B, CLAMP_FAILURES, now),
            statement!(B, CLAMP_INVITATIONS, now, after(LONGEST_INVITATION_WAIT)),
            statement!(B, CLAMP_EXPECTATIONS, now, tolerated),
        ];
        within(CORRECTION_TIMEOUT, "correct times that are ahead of the clock", async {
            for correction in corrections.drain(..) {
                let mut writer = self.db.rest.autocommit().await?;
                B::run(writer.connection(), correction).await?;
                writer.finish();
            }
            Ok(())
        })
        .await
    }

    async fn take_over(&self, now: Timestamp) -> Result<u64, StoreError> {
        if !B::SOLE_OWNER {
            return Ok(0);
        }
        within(B::BACKGROUND_TIMEOUT, "release old leases", async {
            let mut tx = self.db.dispatch.begin().await?;
            let released = B::run(tx.connection(), statement!(B, RELEASE_ALL, now.as_millisecond())).await?;
            B::run(tx.connection(), statement!(B, RELEASE_INVITATIONS, now.as_millisecond())).await?;
            tx.commit().await?;
            Ok(released)
        })
        .await
    }

    async fn listen(&self, notifier: &Notifier, stop: &CancellationToken) {
        B::listen(&self.db.target, &self.process, notifier, stop).await;
    }

    async fn close(&self) {
        self.db.readers.close().await;
        self.db.dispatch_readers.close().await;
        for writer in [&self.db.append, &self.db.dispatch, &self.db.rest] {
            writer.close().await;
        }
        B::release(&self.db.target);
    }
}

/// Reads columns of a row by name; the type wanted decides the conversion.
pub(super) fn column<B, T>(row: &B::Row, name: &'static str) -> Result<T, sqlx::Error>
where
    B: Scalar<T>,
{
    B::get(row, name)
}

/// Parses a stored text. A text that this program cannot have written is an error.
pub(super) fn parsed<T>(column: &'static str, text: String) -> Result<T, sqlx::Error>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(text).map_err(|e| undecodable(column, e))
}

/// Returns the error for a column that this program cannot have written.
pub(super) fn undecodable(
    column: &'static str,
    e: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(e) }
}

/// Reads a time.
pub(super) fn time(column: &'static str, millis: i64) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(millis).map_err(|e| undecodable(column, e))
}
