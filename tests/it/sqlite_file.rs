//! The SQLite file: its write-ahead log stays small, and damage is said and never hidden.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::engine::Engine;
use crate::support::process::Launch;
use crate::support::service::{Service, text, uaid};
use crate::support::within;

const MEBIBYTE: u64 = 1024 * 1024;

fn database(engine: &Engine) -> PathBuf {
    engine.url().strip_prefix("sqlite://").expect("a file").into()
}

fn log_size(engine: &Engine) -> u64 {
    let log = format!("{}-wal", database(engine).display());
    std::fs::metadata(log).map_or(0, |log| log.len())
}

/// Stores so many events at once.
async fn store(service: &Service, numbers: std::ops::Range<u64>) {
    let callback = |number| async move {
        service.callback(&format!("authenticated={}", uaid(number))).await.expect(200);
    };
    join_all(numbers.map(callback)).await;
}

/// Writes beside the service, a mebibyte each time: many callbacks' worth of the log.
struct Filler(SqliteConnection);

impl Filler {
    async fn open(engine: &Engine) -> Self {
        let mut connection = SqliteConnection::connect(engine.url()).await.unwrap();
        connection.execute("PRAGMA synchronous = OFF; CREATE TABLE filler (bytes BLOB)").await.unwrap();
        Self(connection)
    }

    async fn write(&mut self) {
        self.0.execute("INSERT INTO filler VALUES (randomblob(1048576))").await.unwrap();
    }
}

async fn reader(engine: &Engine) -> SqliteConnection {
    let mut reader = SqliteConnection::connect(engine.url()).await.unwrap();
    begin(&mut reader).await;
    reader
}

async fn begin(reader: &mut SqliteConnection) {
    reader.execute("BEGIN").await.unwrap();
    reader.fetch_one("SELECT COUNT(*) FROM events").await.unwrap();
}

#[tokio::test]
async fn the_log_shrinks_after_a_long_reader() {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    store(&service, 0..100).await;
    let mut filler = Filler::open(&engine).await;
    let mut backup = reader(&engine).await;
    while log_size(&engine) < 60 * MEBIBYTE {
        filler.write().await;
    }
    store(&service, 100..200).await;
    assert!(log_size(&engine) >= 60 * MEBIBYTE, "the reader keeps all that came since");
    backup.execute("COMMIT").await.unwrap();
    within("the log to be emptied", async {
        while log_size(&engine) > MEBIBYTE {
            tokio::task::yield_now().await;
        }
    })
    .await;
    store(&service, 200..300).await;
}

#[tokio::test]
async fn the_log_stays_small_beside_readers_without_a_gap() {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    store(&service, 0..100).await;
    let mut filler = Filler::open(&engine).await;
    // Two readers in turns: one begins before the other ends, so that there is no moment without one.
    let mut readers = [reader(&engine).await, reader(&engine).await];
    let reading = async {
        for turn in 0_usize.. {
            let reader = &mut readers[turn % 2];
            reader.execute("COMMIT").await.unwrap();
            begin(reader).await;
        }
    };
    let mut largest = 0;
    let writing = async {
        for round in 0..250 {
            filler.write().await;
            store(&service, 100 + 20 * round..120 + 20 * round).await;
            largest = largest.max(log_size(&engine));
        }
    };
    tokio::select! {
        () = reading => unreachable!("it has no end"),
        () = writing => {}
    }
    assert!(largest < 128 * MEBIBYTE, "the log was {} MiB long", largest / MEBIBYTE);
}

/// A database with some hundred events.
async fn filled(engine: &Engine) {
    let service = Service::start(engine, "").await;
    store(&service, 0..500).await;
    service.process.signal(rustix::process::Signal::TERM);
    assert_eq!(service.process.wait().await, Some(0));
}

/// Overwrites the page that holds the event with this number.
fn damage(path: &Path, number: u64) {
    let bytes = std::fs::read(path).unwrap();
    let wanted = u128::from(number).to_be_bytes();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let places =
        bytes.windows(16).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at / 4096);
    for page in places {
        file.write_all_at(&[0x55; 4096], page as u64 * 4096).unwrap();
    }
}

enum Damage {
    Page,
    End,
    Text,
}

#[rstest::rstest]
#[case::page(Damage::Page)]
#[case::end(Damage::End)]
#[case::text(Damage::Text)]
#[tokio::test]
async fn a_damaged_file_stops_the_start_with_one_sentence(#[case] kind: Damage) {
    let engine = Engine::sqlite();
    filled(&engine).await;
    let path = database(&engine);
    match kind {
        Damage::Page => damage(&path, 250),
        Damage::End => {
            let length = path.metadata().unwrap().len();
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        }
        Damage::Text => std::fs::write(&path, "this is no database\n".repeat(500)).unwrap(),
    }
    let before = std::fs::read(&path).unwrap();
    let output = Launch::new(&[]).config(&text(engine.url(), "")).run().await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let lines: Vec<_> = output.stderr.lines().filter(|line| !line.starts_with('{')).collect();
    let [line] = lines[..] else { panic!("one sentence: {output:?}") };
    assert!(
        line.starts_with(&format!("remgate: failed to open the database file {}: ", path.display())),
        "{line}"
    );
    assert!(line.contains("keep a copy") && line.contains("backup") && line.contains(".recover"), "{line}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "the file is left as it is");
}

#[tokio::test]
async fn damage_that_is_met_later_is_an_error_and_never_a_shorter_page() {
    let engine = Engine::sqlite();
    filled(&engine).await;
    let service = Service::start(&engine, "").await;
    assert_eq!(service.internal.get("/readyz").await.status, 200);
    damage(&database(&engine), 250);
    let page = service.internal.get("/v1/events?limit=1000").await;
    assert_eq!(page.status, 503, "{}", page.text());
    service.internal.get("/readyz").await.expect(503);
    let path = database(&engine).display().to_string();
    service.internal.get("/v1/events?limit=1000").await.expect(503);
    let log = service.process.log();
    let told = log.lines().filter(|line| line.contains("\"ERROR\"") && line.contains(&path)).count();
    assert_eq!(told, 1, "{log}");
}

/// A cleaning job, or a copy of the folder that is moved back, takes the write-ahead log away. SQLite does not notice, and
/// would lose all that it writes from then on.
#[rstest::rstest]
#[case::removed(|log: &Path| std::fs::remove_file(log))]
#[case::replaced(|log: &Path| std::fs::rename(log, log.with_extension("old")).and_then(|()| std::fs::write(log, "")))]
#[tokio::test]
async fn nothing_is_lost_when_the_log_is_taken_away(#[case] take: fn(&Path) -> std::io::Result<()>) {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    let log = PathBuf::from(format!("{}-wal", database(&engine).display()));
    store(&service, 0..20).await;
    take(&log).unwrap();
    for number in 20..40 {
        service.callback(&format!("authenticated={}", uaid(number))).await.expect(200);
    }
    assert_eq!(service.count().await, 40);
    assert!(service.process.log().contains("the write-ahead log was removed"), "{}", service.process.log());
    service.process.kill();
    service.process.wait().await;
    let service = Service::start(&engine, "").await;
    assert_eq!(service.count().await, 40);
    store(&service, 40..50).await;
}
