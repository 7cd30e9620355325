//! The store's two engines, side by side: every statement, every table, and what COMMIT means.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use remgate::domain::{Clock, PostgresUrl, SystemClock};
use remgate::store::{self, Location, Postgres, Sqlite};
use sqlx::{Connection, Executor, PgConnection, Row, SqlSafeStr, SqliteConnection};

use crate::support::engine::Engine;
use crate::support::process::{Launch, Process};
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{Service, delivery, endpoint, text, uaid};
use crate::support::within;

async fn migrated(engine: &Engine) {
    let location = match engine.url().strip_prefix("sqlite://") {
        Some(file) => Location::Sqlite(PathBuf::from(file)),
        None => Location::Postgres(PostgresUrl::parse(engine.url()).unwrap()),
    };
    store::open(&location, &remgate::domain::RandomSource::from_os()).await.unwrap().close().await;
}

#[tokio::test]
async fn every_statement_can_be_prepared_on_both() {
    let (sqlite, postgres) = (Engine::sqlite(), Engine::postgres().await);
    migrated(&sqlite).await;
    migrated(&postgres).await;
    let mut on_sqlite = SqliteConnection::connect(sqlite.url()).await.unwrap();
    let mut on_postgres = PgConnection::connect(postgres.url()).await.unwrap();
    let (ours, theirs) = (store::statements::<Sqlite>(), store::statements::<Postgres>());
    assert!(ours.len() > 15 && ours.iter().map(|item| item.0).eq(theirs.iter().map(|item| item.0)));
    for (name, text) in ours {
        on_sqlite.prepare(text.into_sql_str()).await.unwrap_or_else(|e| panic!("SQLite, {name}: {e}"));
    }
    for (name, text) in theirs {
        on_postgres.prepare(text.into_sql_str()).await.unwrap_or_else(|e| panic!("PostgreSQL, {name}: {e}"));
    }
}

#[tokio::test]
async fn both_have_the_same_tables_columns_and_indexes() {
    let (sqlite, postgres) = (Engine::sqlite(), Engine::postgres().await);
    migrated(&sqlite).await;
    migrated(&postgres).await;
    let columns = "SELECT m.name, c.name, CAST(c.\"notnull\" AS BIGINT) FROM sqlite_master m, pragma_table_info(m.name) c \
        WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' ORDER BY 1, 2";
    let mut conn = SqliteConnection::connect(sqlite.url()).await.unwrap();
    let ours: Vec<(String, String, i64)> = sqlx::query_as(columns).fetch_all(&mut conn).await.unwrap();
    let indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1";
    let our_indexes: Vec<(String,)> = sqlx::query_as(indexes).fetch_all(&mut conn).await.unwrap();

    let columns = "SELECT table_name::text, column_name::text, CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END::bigint \
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' \
        ORDER BY table_name::text COLLATE \"C\", column_name::text COLLATE \"C\"";
    let mut conn = PgConnection::connect(postgres.url()).await.unwrap();
    let theirs: Vec<(String, String, i64)> = sqlx::query_as(columns).fetch_all(&mut conn).await.unwrap();
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey' \
        ORDER BY indexname::text COLLATE \"C\"";
    let their_indexes: Vec<(String,)> = sqlx::query_as(indexes).fetch_all(&mut conn).await.unwrap();

    assert!(ours.len() > 30, "{ours:?}");
    assert_eq!(ours, theirs);
    assert_eq!(our_indexes, their_indexes);
}

#[tokio::test]
async fn a_store_of_a_newer_remgate_is_left_alone() {
    for engine in [Engine::sqlite(), Engine::postgres().await] {
        migrated(&engine).await;
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
            SELECT 9999, 'from the future', TRUE, checksum, 0 FROM _sqlx_migrations LIMIT 1";
        if engine.name() == "sqlite" {
            SqliteConnection::connect(engine.url()).await.unwrap().execute(newer).await.unwrap();
        } else {
            PgConnection::connect(engine.url()).await.unwrap().execute(newer).await.unwrap();
        }
        let output = Launch::new(&[]).config(&text(engine.url(), "")).run().await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("9999") && output.stderr.contains("newer"), "{output:?}");
    }
}

/// A library that notes each flush to disk in a file, by appending one byte.
const FLUSH_COUNTER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static int noted(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    int outcome = real(fd);
    int notes = open(getenv("FLUSH_NOTES"), O_WRONLY | O_APPEND);
    if (outcome == 0 && notes >= 0) { if (write(notes, "f", 1) != 1) abort(); }
    if (notes >= 0) close(notes);
    return outcome;
}
int fsync(int fd) { return noted("fsync", fd); }
int fdatasync(int fd) { return noted("fdatasync", fd); }
"#;

fn build(folder: &Path, code: &str) -> String {
    let (source, library) = (folder.join("flush.c"), folder.join("flush.so"));
    std::fs::write(&source, code).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.is_ok_and(|status| status.success()), "this test needs a C compiler, as the build does");
    library.to_str().unwrap().to_owned()
}

/// A library whose flushes to disk take a fifth of a second.
const SLOW_FLUSH: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slowly(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    usleep(200000);
    return real(fd);
}
int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"#;

/// Results of attempts and the health of endpoints are stored meanwhile; none of it may hold up callbacks by more than one
/// flush of its own.
#[tokio::test]
async fn a_slow_disk_delays_a_callback_by_two_flushes_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let library = build(folder.path(), SLOW_FLUSH);
    let (good, failing) = (Receiver::start().await, Receiver::answering(|_| Answer::status(500)).await);
    let config = delivery("schedule = [\"1ms\", \"1ms\", \"1ms\", \"1ms\"]")
        + &endpoint("good", &good.url("/"), "")
        + &endpoint("failing", &failing.url("/"), "");
    let engine = Engine::sqlite();
    let launch = Launch::new(&[]).config(&text(engine.url(), &config)).env("LD_PRELOAD", &library);
    let service = Service::of(launch.start().await);
    let mut taken = Vec::new();
    for number in 0..21 {
        let begun = SystemClock.instant();
        service.store(&uaid(number)).await;
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    assert!(taken[10] < Duration::from_millis(480), "{taken:?}");
}

/// A kill cannot show a missing flush: what the system has taken it keeps. So each answer must come after a flush of
/// its own.
#[tokio::test]
async fn no_callback_is_answered_before_it_is_flushed_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let library = build(folder.path(), FLUSH_COUNTER);
    let notes = folder.path().join("notes");
    std::fs::write(&notes, "").unwrap();
    let engine = Engine::sqlite();
    let launch = Launch::new(&[]).config(&text(engine.url(), "")).env("LD_PRELOAD", &library);
    let process: Process = launch.env("FLUSH_NOTES", notes.to_str().unwrap()).start().await;
    let service = Service::of(process);
    let flushes = || std::fs::metadata(&notes).unwrap().len();
    for n in 0..20 {
        let before = flushes();
        service.store(&uaid(n)).await;
        assert!(flushes() > before, "callback {n} was answered and nothing had been flushed");
    }
}

/// The disk, or what we may use of it, is full: the callback is told to come back, the process lives on.
#[tokio::test]
async fn a_file_that_may_not_grow_is_a_store_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_remgate");
    // 512-byte blocks: 800 KiB, of which the fresh schema and its log take about half.
    let limited = format!("ulimit -f 1600; exec {binary}");
    let launch = Launch::program(Path::new("/bin/sh"), &["-c", &limited]).in_folder(folder.path());
    let service = Service::of(launch.config(&text("sqlite://remgate.db", "")).start().await);
    // The log can be checkpointed and restarted some times; at last the file may not grow.
    let (mut asked, mut stored, mut refused) = (0, 0, 0);
    while refused < 20 {
        let answer = service.callback(&format!("authenticated={}", uaid(asked))).await;
        asked += 1;
        if answer.status == 200 {
            (stored, refused) = (stored + 1, 0);
        } else {
            answer.expect(503).header("retry-after");
            refused += 1;
        }
        assert!(asked < 5_000, "the limit is never reached");
    }
    service.public.get("/livez").await.expect(200);
    // A page or two may still fit where a callback's several do not.
    within("a readiness that has noticed", async {
        while service.internal.get("/readyz").await.status != 503 {}
    })
    .await;
    assert_eq!(service.count().await, stored, "what was answered is there, and nothing else");
}

#[tokio::test]
async fn only_we_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    service.store(&uaid(1)).await;
    let file = engine.url().strip_prefix("sqlite://").unwrap();
    for name in [file.to_owned(), format!("{file}-wal")] {
        let mode = std::fs::metadata(&name).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

/// A server that is told not to wait for its disk waits for us all the same.
#[tokio::test]
async fn a_lax_postgres_is_made_to_wait_for_its_disk() {
    let engine = Engine::postgres().await;
    let service = Service::start(&engine, "").await;
    service.store(&uaid(1)).await;
    // The shared test server runs with `synchronous_commit = off`.
    let mut conn = PgConnection::connect(engine.url()).await.unwrap();
    let row = conn.fetch_one("SHOW synchronous_commit").await.unwrap();
    assert_eq!(row.get::<String, _>(0), "off");
    let slow = "
        CREATE TABLE seen (setting TEXT);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE TRIGGER noting AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION note();";
    sqlx::raw_sql(slow).execute(&mut conn).await.unwrap();
    service.store(&uaid(2)).await;
    let row = conn.fetch_one("SELECT setting FROM seen").await.unwrap();
    assert_eq!(row.get::<String, _>(0), "on");
}
