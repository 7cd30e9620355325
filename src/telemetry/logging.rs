//! Logs: on stderr, for people or for machines.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people.
    Pretty,
    /// For machines: one JSON object a line.
    Json,
}

impl LogStyle {
    /// Pretty where somebody watches, JSON where a collector does.
    #[must_use]
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Pretty } else { Self::Json }
    }
}

/// Libraries that write what passes through them into their own debug and trace logs: keys, passwords, links. They
/// stay quiet below `info`, whatever is asked for.
const TALKATIVE: [&str; 9] =
    ["h2", "hyper", "hyper_util", "reqwest", "rustls", "sqlx", "tower", "tower_http", "tokio_postgres"];

/// Starts logging for the whole process. `directives` are those of `RUST_LOG`; without them, `info`.
///
/// Fails when it was started before. A directive that cannot be understood is left out.
pub fn init(style: LogStyle, directives: Option<&str>) -> Result<(), TryInitError> {
    Registry::default().with(layer(style, directives, std::io::stderr)).try_init()
}

/// The layer that writes logs.
pub fn layer<W>(
    style: LogStyle,
    directives: Option<&str>,
    writer: W,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let directives = directives.filter(|text| !text.trim().is_empty()).unwrap_or("info");
    let wanted = EnvFilter::builder().parse_lossy(directives).and(filter_fn(is_discreet));
    let fmt = tracing_subscriber::fmt::layer().with_writer(writer);
    match style {
        LogStyle::Pretty => {
            fmt.with_ansi(std::io::stderr().is_terminal()).with_target(false).with_filter(wanted).boxed()
        }
        LogStyle::Json => fmt
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter(wanted)
            .boxed(),
    }
}

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    // `log`'s records come under the target `log` until they are looked at; only libraries use it.
    *metadata.level() <= Level::INFO || !(TALKATIVE.contains(&root) || root == "log")
}
