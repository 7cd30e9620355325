//! A private PostgreSQL for the tests: one server for the whole run, one fresh database for each test.

mod server;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

pub(crate) use server::Server;

/// Quick, and nothing is ever flushed to disk: the tests' data may go with a power cut.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
shared_buffers = 32MB
max_wal_size = 4GB";

/// A database of one test.
pub(crate) struct Database {
    /// URL.
    pub(crate) url: String,
}

/// A fresh database on the server that all tests of this run share; the first call starts it.
pub(crate) async fn database() -> Database {
    static SHARED: OnceLock<Server> = OnceLock::new();
    database_on(SHARED.get_or_init(server)).await
}

/// A server for one test alone, which may stop it and start it again.
pub(crate) fn server() -> Server {
    Server::start(SETTINGS, &std::env::temp_dir())
}

/// A fresh database on `server`.
pub(crate) async fn database_on(server: &Server) -> Database {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url("postgres")).await.expect("the private server is up");
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    admin.execute(create).await.expect("a new name is free");
    admin.close().await.expect("a connection can be closed");
    Database { url: server.url(&name) }
}
