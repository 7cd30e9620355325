//! The measurements and their order: everything that is compared is interleaved, in one run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use remgate::domain::RandomSource;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::endpoint::{Endpoint, Manner};
use super::gateway::{Gateway, Setup, callback_path};
use super::load::{Request, paced, rate};
use super::now;
use super::report::{Bound, Figure, quantile};
use super::server::Server;

const CONNECTIONS: usize = 64;
const PACE: Duration = Duration::from_millis(50);

/// Durations and numbers of rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Number of rounds; the median counts.
    pub(crate) rounds: u32,
    /// Before a rate is measured.
    pub(crate) warm_up: Duration,
    /// Duration of the measurement of a rate.
    pub(crate) span: Duration,
    /// Number of callbacks that are followed to their receiver in a round.
    pub(crate) followed: u32,
    /// Number of starts.
    pub(crate) starts: u32,
}

/// One engine under test.
pub(crate) struct Subject {
    /// `sqlite` or `postgres`.
    pub(crate) engine: &'static str,
    /// The binary.
    pub(crate) binary: PathBuf,
    /// The folder on the disk that is measured.
    pub(crate) folder: PathBuf,
    /// Server for the databases; `None` for SQLite, whose file is in the gateway's own folder.
    pub(crate) server: Option<Server>,
    /// True if the gateway's log is shown.
    pub(crate) show_log: bool,
    /// Source of uaids.
    pub(crate) rng: RandomSource,
    /// Durations and numbers of rounds.
    pub(crate) effort: Effort,
}

impl Subject {
    /// Everything about this engine.
    pub(crate) async fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = self.throughput(Manner::Hold).await.context("with an endpoint that holds")?;
        figures.extend(self.throughput(Manner::Accept).await.context("with an endpoint that accepts")?);
        figures.extend(self.quiet().await.context("at 20 callbacks a second")?);
        Ok(figures)
    }

    /// A gateway with a new store called `name`.
    async fn set_up(&self, name: &str, endpoint: &Endpoint) -> anyhow::Result<(Setup, Gateway)> {
        let database = match &self.server {
            Some(server) => Some(new_database(server, name).await?),
            None => None,
        };
        let setup =
            Setup::new(&self.binary, &self.folder, database.as_deref(), endpoint.addr, self.show_log)?;
        let gateway = setup.start(&self.rng)?;
        Ok((setup, gateway))
    }

    fn callback(&self) -> Request {
        Request::get_with_uaid(&callback_path(), &self.rng)
    }

    /// Callbacks a second, each in turn with `/livez`.
    async fn throughput(&self, manner: Manner) -> anyhow::Result<Vec<Figure>> {
        let endpoint = Endpoint::start(manner)?;
        let name = if manner == Manner::Hold { "hold" } else { "accept" };
        let (setup, gateway) = self.set_up(name, &endpoint).await?;
        let Effort { rounds, warm_up, span, .. } = self.effort;
        let livez = Request::get("/livez", &self.rng);
        let (mut empty, mut durable, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            empty.push(rate(setup.public, &livez, CONNECTIONS, warm_up, span).await?);
            let (from, before) = (now(), endpoint.received());
            durable.push(rate(setup.public, &self.callback(), CONNECTIONS, warm_up, span).await?);
            let meanwhile = u32::try_from(endpoint.received() - before)?;
            delivered.push(f64::from(meanwhile) / (now() - from).as_secs_f64());
            endpoint.drained(Duration::from_millis(500), Duration::from_mins(2))?;
        }
        drop(gateway);
        Ok(self.rates(manner, empty, durable, delivered))
    }

    fn rates(&self, manner: Manner, empty: Vec<f64>, durable: Vec<f64>, delivered: Vec<f64>) -> Vec<Figure> {
        let ratios = durable.iter().zip(&empty).map(|(callback, livez)| callback / livez).collect();
        let figure = |name: &str, unit, runs, bound| Figure::new(self.engine, name, unit, runs, bound);
        if manner == Manner::Hold {
            let least = if self.engine == "sqlite" { 0.15 } else { 0.20 };
            return vec![
                figure("/livez, 64 connections", "/s", empty, Bound::None),
                figure("callback with its outbox row (the endpoint holds)", "/s", durable, Bound::None),
                figure("the same as a ratio to /livez", "", ratios, Bound::AtLeast(least)),
            ];
        }
        vec![
            figure("callback while all is delivered (the endpoint accepts)", "/s", durable, Bound::None),
            figure("the same as a ratio to /livez", "", ratios, Bound::None),
            figure("deliveries received meanwhile", "/s", delivered, Bound::None),
        ]
    }

    /// A gateway with little to do: its memory, how fast it passes on, how fast it starts on the store it then has.
    async fn quiet(&self) -> anyhow::Result<Vec<Figure>> {
        let endpoint = Endpoint::start(Manner::Accept)?;
        let (setup, gateway) = self.set_up("quiet", &endpoint).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let rss = gateway.rss_mb()?;
        let (mut halves, mut nearly_all) = (Vec::new(), Vec::new());
        for _ in 0..self.effort.rounds {
            let elapsed = self.follow(&setup, &endpoint).await?;
            halves.push(quantile(&elapsed, 0.5));
            nearly_all.push(quantile(&elapsed, 0.99));
        }
        gateway.stop()?;
        let mut starts = Vec::new();
        for _ in 0..self.effort.starts {
            let gateway = setup.start(&self.rng)?;
            starts.push(gateway.start.as_secs_f64() * 1e3);
            gateway.stop()?;
        }
        let start_bound = if self.engine == "sqlite" { Bound::Under(100.0) } else { Bound::None };
        let figure = |name: &str, unit, runs, bound| Figure::new(self.engine, name, unit, runs, bound);
        Ok(vec![
            figure("callback to receiver at 20/s, p50", "ms", halves, Bound::Under(2.0)),
            figure("callback to receiver at 20/s, p99", "ms", nearly_all, Bound::Under(6.0)),
            figure("exec to the first 200, existing store", "ms", starts, start_bound),
            figure("idle memory (RSS)", "MB", vec![rss], Bound::Under(30.0)),
        ])
    }

    /// From sending each callback to its delivery's arrival, in ms, from the shortest on.
    async fn follow(&self, setup: &Setup, endpoint: &Endpoint) -> anyhow::Result<Vec<f64>> {
        endpoint.forget();
        let mut sent = paced(setup.public, self.callback(), PACE, self.effort.followed).await?;
        let mut elapsed = Vec::new();
        while !sent.is_empty() {
            let (uaid, at) = endpoint.receipt(Duration::from_secs(10))?;
            if let Some(from) = sent.remove(&uaid) {
                elapsed.push((at - from).as_secs_f64() * 1e3);
            }
        }
        elapsed.sort_by(f64::total_cmp);
        Ok(elapsed)
    }
}

/// A new, empty database on the server; its URL.
pub(crate) async fn new_database(server: &Server, name: &str) -> anyhow::Result<String> {
    let mut admin = PgConnection::connect(&server.url("postgres")).await?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    admin.close().await?;
    Ok(server.url(name))
}
