//! `serve`: opens the doors and runs until told to stop.

use std::net::SocketAddr;

use crate::config::{Config, Database, Loaded, LogFormat, OpenDoor, Public};
use crate::gateway::{self, Gateway, Seams};
use crate::lifecycle::{self, StopSignals};
use crate::telemetry::{self, LogStyle, Logs};

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let style = style(loaded);
    let mut logs = telemetry::init(style, loaded.log_filter.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(loaded, style, &mut logs));
    // Waits for nothing: the system may still be looking up a receiver's name, and cannot be told to give up.
    runtime.shutdown_background();
    outcome
}

async fn serve(loaded: &Loaded, style: LogStyle, logs: &mut Logs) -> anyhow::Result<()> {
    // Before anything else: a signal that comes during the start is obeyed like any other.
    let mut signals = StopSignals::watch()?;
    lifecycle::ignore_file_size_signal()?;
    lifecycle::ignore_hangup()?;
    let started = tokio::select! {
        biased;
        signal = signals.first() => {
            tracing::info!(signal, "stopped before the start was complete");
            return Ok(());
        }
        started = start(loaded, style, logs) => started?,
    };
    let finished = started
        .run(async {
            let signal = signals.first().await;
            tracing::info!(signal, "stopping");
        })
        .await;
    tracing::info!(everything_finished = finished, "stopped");
    Ok(())
}

async fn start(loaded: &Loaded, style: LogStyle, logs: &mut Logs) -> anyhow::Result<Gateway> {
    gateway::check_locks(&loaded.config).await?;
    let files = lifecycle::raise_file_limit();
    tracing::debug!(files, "limit of open files");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = &loaded.config;
    let gateway = Gateway::build(config, &declared_in(loaded), Seams::real()).await?;
    let doors = Doors { public: gateway.public_address(), internal: gateway.internal_address() };
    let open = config.open_doors(gateway.has_stored_admin_key());
    for door in &open {
        tracing::warn!("{}", doors.named(door));
    }
    doors.announce(config, &open, style, logs);
    Ok(gateway)
}

fn style(loaded: &Loaded) -> LogStyle {
    let style = match loaded.config.telemetry.log_format {
        LogFormat::Auto => LogStyle::detect(),
        LogFormat::Pretty => LogStyle::Pretty,
        LogFormat::Json => LogStyle::Json,
    };
    if style == LogStyle::Pretty && loaded.no_color { LogStyle::Plain } else { style }
}

/// Where the declared endpoints stand, for people.
fn declared_in(loaded: &Loaded) -> String {
    loaded.file.as_ref().map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string())
}

/// The addresses that were bound, which a port 0 in the configuration leaves open.
struct Doors {
    public: SocketAddr,
    internal: SocketAddr,
}

impl Doors {
    /// The URL to register, with a place for the token where one is needed: tokens are never shown.
    fn callback_url(&self, config: &Config) -> String {
        let locked = config.services.iter().any(|service| !service.tokens.is_empty());
        let token = locked.then_some("<token>");
        match config.public.url {
            Some(_) => config.public.callback_url(token),
            None => format!("http://{}{}", self.public, Public::callback_path(token)),
        }
    }

    /// What to do next: try it while it stands open, else tell RemAuth.
    fn next(&self, open: &[OpenDoor]) -> String {
        if open.len() < 2 {
            return "register the callback URL in RemAuth's Customer Center".to_owned();
        }
        format!(
            "curl 'http://{}/remauth_callback?authenticated=b83ee873a9b44f2083c130db24dfbe91' stores an event, \
             curl 'http://{}/v1/events' shows it",
            self.public, self.internal
        )
    }

    /// What is open, at the address that it got.
    fn named(&self, door: &OpenDoor) -> String {
        let bound = match door {
            OpenDoor::Public { .. } => self.public,
            OpenDoor::Internal { .. } => self.internal,
        };
        door.to_string().replace(&door.listen().to_string(), &bound.to_string())
    }

    /// Says that it is ready: one line in the log, and for people the same in a form to look at.
    fn announce(&self, config: &Config, open: &[OpenDoor], style: LogStyle, logs: &mut Logs) {
        let (callback_url, store, next) = (self.callback_url(config), store(config), self.next(open));
        tracing::info!(
            public_addr = %self.public, internal_addr = %self.internal, callback_url, store, next, "remgate is ready"
        );
        if style == LogStyle::Json {
            return;
        }
        let state = |open: bool| if open { "stands open" } else { "locked" };
        let public = state(open.iter().any(|door| matches!(door, OpenDoor::Public { .. })));
        let internal = state(open.iter().any(|door| matches!(door, OpenDoor::Internal { .. })));
        logs.print(&format!(
            "\n  remgate {}\n  callback URL   {callback_url}\n  public door    http://{} ({public})\n  \
             internal door  http://{} ({internal})\n  events in      {store}\n  next           {next}\n\n",
            env!("CARGO_PKG_VERSION"),
            self.public,
            self.internal,
        ));
    }
}

/// Where events are kept, without a password.
fn store(config: &Config) -> String {
    match &config.database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    }
}
