//! The configured server that takes writes, and the age of the connections to it.
//!
//! After a failover, connections to the former primary may stay open: to a server that answers without new data, or to one
//! that no longer answers. Whenever the connection that listens was lost, or its server no longer takes writes, all
//! connections made before are given up.

use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions, Connection};

use super::super::backend::late;
use super::super::renewals::Renewals;
use crate::domain::PostgresUrl;

/// Default of the maximum time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Servers, with the one that took writes last.
#[derive(Debug)]
pub struct Primary {
    servers: Vec<PgConnectOptions>,
    connect_timeout: Duration,
    current: AtomicUsize,
    renewals: Renewals,
    /// Connect to the current server.
    pools: Mutex<Vec<PgPool>>,
}

impl Primary {
    pub(super) fn new(url: &PostgresUrl) -> sqlx::Result<Self> {
        let servers = url.servers.iter().map(|server| {
            let text = server.expose_secret();
            let options = PgConnectOptions::from_str(text)?.disable_statement_logging();
            let named = text.contains("application_name=");
            Ok(if named { options } else { options.application_name("remgate") })
        });
        Ok(Self {
            servers: servers.collect::<sqlx::Result<_>>()?,
            connect_timeout: url.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            current: AtomicUsize::new(0),
            renewals: Renewals::new(),
            pools: Mutex::new(Vec::new()),
        })
    }

    /// The servers, for people.
    pub(super) fn target(&self) -> String {
        let server = |options: &PgConnectOptions| match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let servers: Vec<_> = self.servers.iter().map(server).collect();
        let options = &self.servers[0];
        let database = options.get_database().unwrap_or(options.get_username());
        format!("{} (database {database}, user {})", servers.join(" or "), options.get_username())
    }

    /// Returns the options of the current server.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.servers[self.current.load(Ordering::Relaxed)].clone()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Registers a pool, which then follows the current server.
    pub(super) fn guide(&self, pool: PgPool) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Connects to the first server that takes writes, beginning with the current one, which it then becomes.
    ///
    /// # Errors
    /// The reason of the last server that was tried.
    pub(super) async fn connect(&self) -> sqlx::Result<PgConnection> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = late(self.connect_timeout);
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let connecting = async {
                let mut connection = PgConnection::connect_with(&self.servers[index]).await?;
                require_primary(&mut connection).await?;
                Ok(connection)
            };
            match tokio::time::timeout(self.connect_timeout, connecting).await {
                Ok(Ok(connection)) => {
                    self.move_to(index);
                    return Ok(connection);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = late(self.connect_timeout),
            }
        }
        Err(failure)
    }

    fn move_to(&self, index: usize) {
        if self.current.swap(index, Ordering::Relaxed) == index {
            return;
        }
        tracing::info!(
            server = index + 1,
            servers = self.servers.len(),
            "connected to another PostgreSQL server, which takes writes now"
        );
        for pool in &*self.pools.lock().unwrap_or_else(PoisonError::into_inner) {
            pool.set_connect_options(self.servers[index].clone());
        }
        self.renew();
    }

    /// Marks all present connections as outdated.
    pub(super) fn renew(&self) {
        self.renewals.renew();
    }

    pub(super) fn renewals(&self) -> &Renewals {
        &self.renewals
    }
}

/// Fails when the server does not take writes: it is a standby, or was the primary before a failover.
pub(super) async fn require_primary(connection: &mut PgConnection) -> sqlx::Result<()> {
    let query = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean";
    let read_only: bool = sqlx::query_scalar(query).fetch_one(connection).await?;
    if read_only {
        return Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            "the server is read-only: a standby, or the primary of before a failover",
        )));
    }
    Ok(())
}
