//! Connections of a store: a pool for reads, and single connections for writes.
//!
//! A pool would test a connection with a round trip whenever it returns, which would delay every callback. A write
//! connection is kept as long as transactions end well. One that failed or was dropped half-way takes its connection
//! with it, so that none of its state reaches the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, Pool};
use tokio::sync::MutexGuard;

use super::backend::{Backend, late};
use super::turns::{Priority, PriorityMutex};

/// Connections of a store.
pub(super) struct Connections<B: Backend> {
    /// For reading.
    pub(super) readers: Pool<B>,
    /// For dispatch to read.
    pub(super) dispatch_readers: Pool<B>,
    /// Writer for appending events. On SQLite all three writers are the same.
    pub(super) append: WriteConnection<B>,
    /// Writer for leases and results.
    pub(super) dispatch: WriteConnection<B>,
    /// For everything else.
    pub(super) rest: WriteConnection<B>,
    /// State of the engine.
    pub(super) target: Arc<B::Target>,
}

/// Maximum time for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle time after which a connection is checked before its use.
const IDLE_CHECK_AFTER: Duration = Duration::from_millis(200);

/// Maximum time for that check. A connection that takes longer is replaced.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "idle times of connections are real times, also in tests")]
fn instant() -> Instant {
    Instant::now()
}

/// Connection for writing. Clones share it.
pub(super) struct WriteConnection<B: Backend> {
    held: Arc<PriorityMutex<Held<B>>>,
    target: Arc<B::Target>,
    priority: Priority,
}

struct Held<B: Backend> {
    connection: Option<B::Connection>,
    /// True from the begin of a transaction to its successful end.
    open: bool,
    /// End of the last successful transaction.
    used: Instant,
    connected: Instant,
}

impl<B: Backend> WriteConnection<B> {
    /// Returns a connection that is opened at its first use.
    pub(super) fn new(target: Arc<B::Target>) -> Self {
        let now = instant();
        let held = Held { connection: None, open: false, used: now, connected: now };
        Self { held: Arc::new(PriorityMutex::new(held)), target, priority: Priority::Normal }
    }

    /// Returns the same connection for transactions that come before those of the other clones.
    pub(super) fn urgent(&self) -> Self {
        Self { priority: Priority::Urgent, ..self.clone() }
    }

    /// Begins a transaction that is on disk after its commit.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'_, B>> {
        self.begin_with(B::BEGIN, B::COMMIT).await
    }

    /// Begins a transaction whose loss in a power cut only repeats work, so that its commit need not wait for the disk.
    pub(super) async fn begin_async_commit(&self) -> sqlx::Result<Transaction<'_, B>> {
        self.begin_with(B::BEGIN_ASYNC_COMMIT, B::ASYNC_COMMIT).await
    }

    async fn begin_with(
        &self,
        begin: &'static str,
        commit: &'static str,
    ) -> sqlx::Result<Transaction<'_, B>> {
        let mut transaction = self.autocommit().await?;
        B::command(transaction.connection(), begin).await?;
        transaction.commit = commit;
        Ok(transaction)
    }

    /// Returns the connection for one statement that is a transaction by itself.
    ///
    /// An idle connection is checked first: the server may have closed it, which is no reason to refuse a request.
    pub(super) async fn autocommit(&self) -> sqlx::Result<Transaction<'_, B>> {
        let mut held = self.held.lock(self.priority).await;
        B::check_place(&self.target)?;
        if let Some(connection) = held.connection.as_mut()
            && let Err(error) = B::check_log(&self.target)
        {
            B::rescue(&self.target, connection, error).await?;
            held.connection = None;
        }
        if std::mem::replace(&mut held.open, true) || B::is_outdated(&self.target, held.connected.elapsed()) {
            held.connection = None;
        }
        let idle = held.used.elapsed() > IDLE_CHECK_AFTER;
        let usable = match held.connection.as_mut() {
            Some(connection) => {
                !idle || matches!(tokio::time::timeout(PING_TIMEOUT, B::ping(connection)).await, Ok(Ok(())))
            }
            None => false,
        };
        if !usable {
            held.connection = None;
            held.connected = instant();
            held.connection = Some(self.connect().await?);
        }
        Ok(Transaction { held, commit: B::COMMIT })
    }

    /// Ends its connection, if it has one.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.held.lock(Priority::Normal).await.connection.take() {
            // The connection is dropped in any case.
            let _ = connection.close().await;
        }
    }

    async fn connect(&self) -> sqlx::Result<B::Connection> {
        let connecting = async {
            let mut connection = B::connect(&self.target).await?;
            B::prepare_writer(&mut connection).await?;
            Ok(connection)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(late(CONNECT_TIMEOUT)))
    }
}

impl<B: Backend> Clone for WriteConnection<B> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), target: Arc::clone(&self.target), priority: self.priority }
    }
}

/// Transaction. Rolled back if it is dropped without [`Transaction::commit`].
pub(super) struct Transaction<'l, B: Backend> {
    held: MutexGuard<'l, Held<B>>,
    commit: &'static str,
}

impl<B: Backend> Transaction<'_, B> {
    /// Returns the connection for statements.
    pub(super) fn connection(&mut self) -> &mut B::Connection {
        self.held.connection.as_mut().expect("a transaction begins with a connection")
    }

    /// Commits. After an error it is unknown whether the transaction is durable.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let commit = self.commit;
        B::command(self.connection(), commit).await?;
        self.finish();
        Ok(())
    }

    /// Marks the end of a statement that was a transaction by itself.
    pub(super) fn finish(mut self) {
        self.held.open = false;
        self.held.used = instant();
    }
}
