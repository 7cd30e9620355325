//! Settings of our sessions on a PostgreSQL server.
//!
//! A process can stop answering while it holds locks that others need: its host loses power, a firewall forgets the
//! connection, the process is suspended. The server would keep the locks until TCP keep-alive gives up, which takes
//! hours. So the server itself ends whatever waits too long, sooner than our callers give up.

use sqlx::Executor;
use sqlx::postgres::PgConnection;

/// Limits for each session.
///
/// - A transaction whose next statement does not arrive is rolled back after 1.5 s.
/// - A statement waits 2 s at most for a lock.
/// - Data that the client does not acknowledge, and a client that does not answer keep-alive probes, end the session after
///   5 s. The server ignores both on Unix sockets.
/// - From PostgreSQL 14 on, a statement ends within 1 s after its client has closed the connection.
const LIMITS: &str = "SET idle_in_transaction_session_timeout = '1500ms'; SET lock_timeout = '2s'; \
    SET tcp_user_timeout = '5s'; SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; \
    SET tcp_keepalives_count = 3; \
    SELECT set_config('client_connection_check_interval', '1s', false) \
        WHERE current_setting('server_version_num')::int >= 140000; ";

/// Prepares a session for reading. A statement is cancelled after 4 s, when its reader has given up.
pub(super) async fn prepare_reader(conn: &mut PgConnection) -> sqlx::Result<()> {
    let text = format!("{LIMITS}SET statement_timeout = '4s'");
    conn.execute(sqlx::AssertSqlSafe(text)).await.map(drop)
}

/// Prepares a session for writing.
///
/// A server may be told not to wait for its disk at COMMIT. An acknowledged event is on disk, so our sessions wait in any
/// case; a stricter setting than `on` is left alone. There is no `statement_timeout`: it would end the wait of a COMMIT for
/// a synchronous standby, and report success.
///
/// A writer only looks up rows by their keys. The planner, which has no statistics of a table that has just begun to grow,
/// would plan to read the whole of it, and keep to that plan; so such plans are switched off.
pub(super) async fn prepare_writer(conn: &mut PgConnection) -> sqlx::Result<()> {
    let text = format!(
        "{LIMITS}SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
        SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
        SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    );
    conn.execute(sqlx::AssertSqlSafe(text)).await.map(drop)
}
