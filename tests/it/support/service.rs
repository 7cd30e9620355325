//! The running service with a client for each listener: what most tests begin with.

use std::path::Path;

use serde_json::Value;

use super::engine::Engine;
use super::http::{Answer, Client};
use super::process::{Launch, Process};

/// The secret of the endpoint that [`endpoint`] declares.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The service, ready.
pub(crate) struct Service {
    /// The binary.
    pub(crate) process: Process,
    /// Client of the public listener.
    pub(crate) public: Client,
    /// Client of the internal listener.
    pub(crate) internal: Client,
}

impl Service {
    /// On an engine's store, with more configuration if need be: tables only.
    pub(crate) async fn start(engine: &Engine, config: &str) -> Self {
        Self::of(Launch::new(&[]).config(&text(engine.url(), config)).start().await)
    }

    /// In a folder that outlives it.
    pub(crate) async fn start_in(folder: &Path, engine: &Engine, config: &str) -> Self {
        Self::of(Launch::new(&[]).in_folder(folder).config(&text(engine.url(), config)).start().await)
    }

    /// Around a process that is ready.
    pub(crate) fn of(process: Process) -> Self {
        let public = Client::at(&process.public_url());
        let internal = Client::at(&process.internal_url());
        Self { process, public, internal }
    }

    /// Says something to `/remauth_callback`, as RemAuth does.
    pub(crate) async fn callback(&self, query: &str) -> Answer {
        self.public.get(&format!("/remauth_callback?{query}")).await
    }

    /// Stores one event; its id.
    pub(crate) async fn store(&self, uaid: &str) -> String {
        let answer = self.callback(&format!("authenticated={uaid}")).await.expect(200);
        answer.json()["data"].as_str().expect("one event, one id").to_owned()
    }

    /// A page of events.
    pub(crate) async fn events(&self, query: &str) -> Value {
        self.internal.get(&format!("/v1/events?{query}")).await.expect(200).json()
    }

    /// Returns the number of events.
    pub(crate) async fn count(&self) -> usize {
        self.events("limit=1000").await["data"].as_array().expect("a list").len()
    }

    /// A figure of `/metrics`, by its name and labels as they are printed; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let answer = self.internal.get("/metrics").await.expect(200);
        let line = answer.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a whole figure"))
    }

    /// Waits until a figure has a value. Bounded; asks again and again, since figures announce nothing.
    pub(crate) async fn until_metric(&self, series: &str, value: u64) {
        super::within(&format!("{series} to be {value}"), async {
            while self.metric(series).await != value {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A configuration with both listeners on free ports.
pub(crate) fn text(database: &str, more: &str) -> String {
    format!(
        "public.listen = \"127.0.0.1:0\"\ninternal.listen = \"127.0.0.1:0\"\ndatabase.url = \"{database}\"\n{more}"
    )
}

/// An endpoint on loopback, with `more` keys of its own.
pub(crate) fn endpoint(name: &str, url: &str, more: &str) -> String {
    format!("\n[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}\n")
}

/// Configuration that allows deliveries to loopback, with `more` keys of `[delivery]`.
pub(crate) fn delivery(more: &str) -> String {
    format!("\n[delivery]\nallow_private_networks = [\"127.0.0.1/32\"]\n{more}\n")
}

/// A uaid that belongs to a number.
pub(crate) fn uaid(number: u64) -> String {
    format!("{number:032x}")
}
