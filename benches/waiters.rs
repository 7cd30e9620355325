//! What it costs to wait for an authentication: how soon a waiter hears of the callback, how much memory ten thousand
//! of them take, and what they cost others.
//!
//! `scripts/bench-waiters` runs it. The waiters share the machine's cores with the gateway.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use remgate::domain::{RandomSource, Uaid};
use remgate::lifecycle::raise_file_limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::endpoint::{Endpoint, Manner};
use support::gateway::{Setup, callback_path};
use support::measure::new_database;
use support::report::{Bound, Figure, document, quantile, table};
use support::server::Server;
use support::{machine, message_length, now};

/// Measures waiting on this machine and fails when a bound is missed.
#[derive(Parser)]
struct Options {
    /// Only this engine: sqlite or postgres
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// The figures as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Number of requests that wait at once
    #[arg(long, default_value_t = 10_000)]
    waiters: usize,
    /// Number of callbacks that are followed, at 20 a second; the waiters wait for a minute at most
    #[arg(long, default_value_t = 400)]
    followed: usize,
    /// Folder for the stores, on the disk to be measured
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Another binary than the one just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_remgate"))]
    binary: PathBuf,
    /// Passed by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Between two callbacks.
const PACE: Duration = Duration::from_millis(50);

/// Number of parameters of one callback when all are woken: the maximum.
const AT_ONCE: usize = 1000;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let files = raise_file_limit().and_then(|files| usize::try_from(files).ok()).unwrap_or_default();
    ensure!(files > options.waiters + 200, "only {files} files may be open: see `ulimit -n`");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    for engine in ["sqlite", "postgres"] {
        if options.engine.as_ref().is_none_or(|only| only == engine) {
            figures.extend(runtime.block_on(measure(engine, &options)).map_err(|e| e.context(engine))?);
        }
    }
    let machine = machine::describe(&options.folder);
    if options.json {
        println!("{:#}", document(&machine, &figures));
    } else {
        println!("{}", table(&machine, &figures));
    }
    let held = figures.iter().all(Figure::holds);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(engine: &'static str, options: &Options) -> anyhow::Result<Vec<Figure>> {
    let server = (engine == "postgres").then(|| Server::start("", &options.folder));
    let database = match &server {
        Some(server) => Some(new_database(server, "waiters").await?),
        None => None,
    };
    let endpoint = Endpoint::start(Manner::Accept)?;
    let setup = Setup::new(&options.binary, &options.folder, database.as_deref(), endpoint.addr, false)?;
    let rng = RandomSource::from_os();
    let gateway = setup.start(&rng)?;
    let names = |count: usize| (0..count).map(|_| Uaid::from_bytes(rng.bytes())).collect::<Vec<_>>();

    let (alone, heard) = follow(&setup, &names(options.followed)).await?;
    let before = gateway.rss_mb()?;
    let waiters = names(options.waiters);
    let mut waiting = Vec::with_capacity(waiters.len());
    for uaid in &waiters {
        waiting.push(Connection::wait_for(setup.internal, *uaid).await?);
    }
    until_waiting(setup.internal, waiters.len()).await?;
    let each = (gateway.rss_mb()? - before) * 1000.0 / as_float(waiters.len());
    let (among, heard_among) = follow(&setup, &names(options.followed)).await?;
    let from = now();
    for part in waiters.chunks(AT_ONCE) {
        wake(setup.public, part).await?;
    }
    for one in &mut waiting {
        one.answer().await.context("a waiter of the waiters")?;
    }
    let woken = (now() - from).as_secs_f64();
    gateway.stop()?;

    let ms = |name: &str, sorted: &[f64], share, bound| {
        Figure::new(engine, name, "ms", vec![quantile(sorted, share)], bound)
    };
    let many = options.waiters;
    Ok(vec![
        ms("callback answered to waiter answered, p50", &heard, 0.5, Bound::None),
        ms("callback answered to waiter answered, p99", &heard, 0.99, Bound::Under(5.0)),
        ms(&format!("the same among {many} waiters, p99"), &heard_among, 0.99, Bound::None),
        ms("callback, p99", &alone, 0.99, Bound::None),
        ms(&format!("callback among {many} waiters, p99"), &among, 0.99, Bound::None),
        Figure::new(
            engine,
            "callback's p99 among them, by its p99 alone",
            "ratio",
            vec![quantile(&among, 0.99) / quantile(&alone, 0.99)],
            Bound::Under(2.0),
        ),
        Figure::new(engine, "memory of one waiter", "kB", vec![each], Bound::Under(25.0)),
        Figure::new(engine, format!("{many} waiters all woken and answered"), "s", vec![woken], Bound::None),
    ])
}

/// How long callbacks take, and how long after their answer those heard it who waited; both sorted, in milliseconds.
async fn follow(setup: &Setup, uaids: &[Uaid]) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut remauth = Connection::open(setup.public).await?;
    let (mut taken, mut heard) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(PACE);
    for uaid in uaids {
        let mut waiter = Connection::wait_for(setup.internal, *uaid).await?;
        // By the next tick it has long been waiting.
        ticks.tick().await;
        let path = callback_path();
        let sent = now();
        remauth.ask(&format!("GET {path}{uaid} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await?;
        let (called, answered) = tokio::join!(async { remauth.answer().await.map(|_| now()) }, async {
            waiter.answer().await.map(|_| now())
        },);
        let (called, answered) = (called?, answered?);
        taken.push((called - sent).as_secs_f64() * 1000.0);
        heard.push(answered.saturating_duration_since(called).as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    heard.sort_by(f64::total_cmp);
    Ok((taken, heard))
}

/// One callback for many.
async fn wake(public: SocketAddr, uaids: &[Uaid]) -> anyhow::Result<()> {
    let parameters: Vec<_> = uaids.iter().map(|uaid| format!("authenticated={uaid}")).collect();
    let (body, path) = (parameters.join("&"), callback_path());
    let path = path.split('?').next().unwrap_or_default();
    let mut connection = Connection::open(public).await?;
    connection
        .ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
            content-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await?;
    connection.answer().await.map(drop)
}

/// Until the gateway says that so many wait.
async fn until_waiting(internal: SocketAddr, count: usize) -> anyhow::Result<()> {
    let wanted = format!("remgate_waiters {count}");
    for _ in 0..200 {
        let mut connection = Connection::open(internal).await?;
        connection.ask("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await?;
        let told = connection.answer().await?;
        if String::from_utf8_lossy(&told).lines().any(|line| line == wanted) {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
    bail!("after ten seconds fewer than {count} wait")
}

struct Connection(TcpStream);

impl Connection {
    async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    async fn wait_for(internal: SocketAddr, uaid: Uaid) -> anyhow::Result<Self> {
        let mut connection = Self::open(internal).await?;
        let request = format!("GET /v1/authentications/{uaid}?wait=60 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        connection.ask(&request).await?;
        Ok(connection)
    }

    async fn ask(&mut self, request: &str) -> anyhow::Result<()> {
        self.0.write_all(request.as_bytes()).await.context("cannot ask")
    }

    /// The whole answer; any but a 200 is an error.
    async fn answer(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut answer = Vec::new();
        while message_length(&answer).is_none() {
            let more = self.0.read_buf(&mut answer).await.context("cannot read an answer")?;
            ensure!(more > 0, "hung up");
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "an answer was no 200: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(answer)
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands at the most")]
fn as_float(count: usize) -> f64 {
    count as f64
}
