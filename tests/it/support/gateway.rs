//! The real gateway inside the test's own process: with a clock that the test moves, and logs that it can watch.

use std::sync::Arc;

use remgate::config::{Config, Sources};
use remgate::domain::{ManualClock, RandomSource};
use remgate::gateway::{Environment, Gateway};
use remgate::resolver::{Resolve, SystemResolver};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::http::Client;
use super::service::text;
use super::within;

/// A gateway on a database, running on the test's runtime until it is dropped.
pub(crate) struct TestGateway {
    /// The clock that it goes by. It stands still until it is moved.
    pub(crate) clock: ManualClock,
    /// Client of the public listener.
    pub(crate) public: Client,
    /// Client of the internal listener.
    pub(crate) internal: Client,
    stop: CancellationToken,
}

/// Time of the clock of every test gateway at its start.
const START: &str = "2026-11-22T21:04:05.123Z";

impl TestGateway {
    /// With this database and these further lines of configuration.
    pub(crate) async fn start(database: &str, more: &str) -> Self {
        Self::replica(1, database, more).await
    }

    /// With names that are resolved by `resolver`.
    pub(crate) async fn resolving(database: &str, more: &str, resolver: Arc<dyn Resolve>) -> Self {
        Self::build(1, database, more, resolver).await
    }

    /// One of several on the same database: each has a number of its own, and so makes names of its own.
    pub(crate) async fn replica(number: u64, database: &str, more: &str) -> Self {
        Self::build(number, database, more, Arc::new(SystemResolver::default())).await
    }

    async fn build(number: u64, database: &str, more: &str, resolver: Arc<dyn Resolve>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = load(&text(database, more));
        let clock = ManualClock::at(START.parse().expect("a time"));
        let environment =
            Environment { clock: Arc::new(clock.clone()), rng: RandomSource::seeded(number), resolver };
        let gateway = Gateway::build(&config, "remgate.toml", environment).await.expect("a gateway");
        let public = Client::at(&format!("http://{}", gateway.public_address()));
        let internal = Client::at(&format!("http://{}", gateway.internal_address()));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        run(async move {
            gateway.run(stopped).await;
        });
        Self { clock, public, internal, stop }
    }
}

impl TestGateway {
    /// Waits until a line stands in `/metrics`. Bounded; asks again and again, since figures announce nothing.
    pub(crate) async fn until_figure(&self, line: &str) {
        within(&format!("the figure `{line}`"), async {
            while !self.internal.get("/metrics").await.text().lines().any(|told| told == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Two gateways on one database. On SQLite, which belongs to one process, they are one.
pub(crate) struct Replicas {
    /// The first.
    pub(crate) one: TestGateway,
    other: Option<TestGateway>,
}

impl Replicas {
    pub(crate) async fn start(engine: &Engine, more: &str) -> Self {
        let one = TestGateway::start(engine.url(), more).await;
        let other = match engine.name() {
            "postgres" => Some(TestGateway::start(engine.url(), more).await),
            _ => None,
        };
        Self { one, other }
    }

    /// Clients of the internal listeners of both.
    pub(crate) fn clients(&self) -> [&Client; 2] {
        [&self.one.internal, &self.other.as_ref().unwrap_or(&self.one).internal]
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Returns the configuration of a file with this text; no other source is read.
pub(crate) fn load(text: &str) -> Config {
    let folder = TempDir::new().expect("failed to create a temporary folder");
    let path = folder.path().join("remgate.toml");
    std::fs::write(&path, text).expect("the folder is ours");
    let sources = Sources { config_path: Some(path), ..Sources::default() };
    Config::load(&sources).unwrap_or_else(|e| panic!("{e}")).config
}

#[expect(clippy::disallowed_methods, reason = "the test's own runtime ends with the test")]
fn run(gateway: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(gateway);
}
