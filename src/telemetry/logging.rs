//! Logs on stderr, as text or JSON.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Text, with colours on a terminal.
    Pretty,
    /// For people, without colours.
    Plain,
    /// One JSON object a line.
    Json,
}

impl LogStyle {
    /// Returns the format for this process's stderr: text for a terminal, JSON otherwise.
    #[must_use]
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Pretty } else { Self::Json }
    }
}

/// Libraries whose debug and trace logs contain the data that passes through them, such as keys, passwords and links. They never log
/// below `info`.
const TALKATIVE: [&str; 9] =
    ["h2", "hyper", "hyper_util", "reqwest", "rustls", "sqlx", "tower", "tower_http", "tokio_postgres"];

/// Maximum number of log lines that wait to be written. Beyond that, lines are dropped and counted.
const QUEUED_LINES: usize = 8_192;

/// Counts the lines that the process's log has dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Returns the number of lines that the process's log has dropped.
pub(super) fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| u64::try_from(dropped.dropped_lines()).unwrap_or(u64::MAX))
}

/// Logs how many lines were dropped, once no more are.
#[derive(Debug, Default)]
pub struct DroppedLines {
    seen: u64,
    reported: u64,
}

impl DroppedLines {
    /// Reads the counter. Has to be called regularly.
    pub fn report(&mut self) {
        let dropped = dropped_lines();
        if dropped == self.seen && dropped > self.reported {
            tracing::warn!(
                dropped = dropped - self.reported,
                "log lines were dropped because stderr was not read"
            );
            self.reported = dropped;
        }
        self.seen = dropped;
    }
}

/// The process's log. A thread of its own writes to stderr, so that a reader that does not read stops nothing: lines beyond a
/// bounded queue are dropped and counted. Dropping it writes what waits, for a second at most.
pub struct Logs {
    writer: NonBlocking,
    _guard: WorkerGuard,
}

impl Logs {
    /// Writes text between the log lines, in their order.
    pub fn print(&mut self, text: &str) {
        // Text that cannot be queued is dropped like a log line.
        let _ = self.writer.write_all(text.as_bytes());
    }
}

/// Starts logging for the whole process. `directives` are those of `RUST_LOG`; without them, `info`. Panics are logged, too.
///
/// # Errors
/// Logging was started before.
pub fn init(style: LogStyle, directives: Option<&str>) -> Result<Logs, TryInitError> {
    let builder =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUED_LINES).lossy(true).thread_name("log");
    let (writer, guard) = builder.finish(std::io::stderr());
    let _ = DROPPED.set(writer.error_counter());
    Registry::default().with(layer(style, directives, writer.clone())).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panicked");
    }));
    Ok(Logs { writer, _guard: guard })
}

/// Parses a filter in the form of `RUST_LOG`.
///
/// # Errors
/// The filter is unusable; the text says what is allowed. A bare word that is no level is unusable, too: it would stand for a module of
/// that name, and silence everything else.
pub fn check_filter(text: &str) -> Result<(), String> {
    let allowed = "allowed are error, warn, info, debug, trace, off, or TARGET=LEVEL such as remgate::dispatch=debug, separated by commas";
    EnvFilter::builder().parse(text).map_err(|e| format!("the log filter is unusable: {e}; {allowed}"))?;
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let is_known = |word: &str| {
        levels.iter().any(|level| level.eq_ignore_ascii_case(word))
            || word == "remgate"
            || TALKATIVE.contains(&word)
            || word.contains(['=', '[', '{', ']', '}', ':'])
    };
    match text.split(',').map(str::trim).find(|word| !word.is_empty() && !is_known(word)) {
        Some(word) => Err(format!("the log filter is unusable: {word:?} is no level; {allowed}")),
        None => Ok(()),
    }
}

/// Returns the layer that writes logs.
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
        LogStyle::Pretty | LogStyle::Plain => fmt
            .with_ansi(style == LogStyle::Pretty && std::io::stderr().is_terminal())
            .with_target(false)
            .with_filter(wanted)
            .boxed(),
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
    // Records of the crate `log`, which only libraries use, have the target `log` here.
    *metadata.level() <= Level::INFO || !(TALKATIVE.contains(&root) || root == "log")
}
