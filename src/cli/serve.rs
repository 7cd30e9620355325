//! `serve`: opens both listeners and runs until a signal stops it.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::process::Stopped;
use super::runtime_file::RuntimeFile;
use crate::config::{Config, Database, Loaded, LogFormat, OpenListener, PublicConfig};
use crate::domain::Uaid;
use crate::gateway::{self, Environment, Gateway};
use crate::lifecycle::{self, StopSignals};
use crate::telemetry::{self, LogStyle, Logs};

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let style = style(loaded);
    let mut logs = telemetry::init(style, loaded.log_filter.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(loaded, style, &mut logs));
    // Does not wait for blocking work: the system may be resolving a receiver's name, which cannot be cancelled.
    runtime.shutdown_background();
    outcome
}

async fn serve(loaded: &Loaded, style: LogStyle, logs: &mut Logs) -> anyhow::Result<()> {
    // First of all, so that a signal during the start is obeyed.
    let mut signals = StopSignals::watch()?;
    lifecycle::ignore_file_size_signal()?;
    lifecycle::ignore_other_signals()?;
    let started = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the start was complete");
            return Ok(());
        }
        started = start(loaded, style, logs) => started?,
    };
    let (gateway, _runtime_file) = started;
    let stop = CancellationToken::new();
    let second_signal = async {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
        stop.cancel();
        signals.next().await
    };
    tokio::select! {
        biased;
        finished = gateway.run(stop.cancelled()) => {
            tracing::info!(everything_finished = finished, "stopped");
            Ok(())
        }
        signal = second_signal => {
            tracing::warn!(signal, "stopped at once by a second signal; attempts under way are made again after the next start");
            Err(Stopped(signal).into())
        }
    }
}

async fn start(
    loaded: &Loaded,
    style: LogStyle,
    logs: &mut Logs,
) -> anyhow::Result<(Gateway, Option<RuntimeFile>)> {
    gateway::check_access(&loaded.config).await?;
    let files = lifecycle::raise_file_limit();
    tracing::debug!(files, "limit of open files");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = &loaded.config;
    let environment = Environment::real();
    let gateway = Gateway::build(config, &declared_in(loaded), environment.clone()).await?;
    let addresses = BoundAddresses { public: gateway.public_address(), internal: gateway.internal_address() };
    let open = config.open_listeners(gateway.has_stored_admin_key());
    for listener in &open {
        tracing::warn!("{}", addresses.named(listener));
    }
    let file = RuntimeFile::write(addresses.internal);
    if let Err(error) = &file {
        tracing::debug!(%error, "no runtime file; healthcheck goes by the configuration");
    }
    addresses.announce(config, &open, &environment, style, logs);
    Ok((gateway, file.ok()))
}

fn style(loaded: &Loaded) -> LogStyle {
    let style = match loaded.config.telemetry.log_format {
        LogFormat::Auto => LogStyle::detect(),
        LogFormat::Pretty => LogStyle::Pretty,
        LogFormat::Json => LogStyle::Json,
    };
    if style == LogStyle::Pretty && loaded.no_color { LogStyle::Plain } else { style }
}

/// Location of the declared endpoints, for people.
fn declared_in(loaded: &Loaded) -> String {
    loaded.file.as_ref().map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string())
}

/// Addresses that were bound; the configuration may have port 0.
struct BoundAddresses {
    public: SocketAddr,
    internal: SocketAddr,
}

impl BoundAddresses {
    /// Returns the URL to register, with a placeholder for the token: tokens are never shown.
    fn callback_url(&self, config: &Config) -> String {
        let locked = config.services.iter().any(|service| !service.tokens.is_empty());
        let token = locked.then_some("<token>");
        match config.public.url {
            Some(_) => config.public.callback_url(token),
            None => format!("http://{}{}", self.public, PublicConfig::callback_path(token)),
        }
    }

    /// Returns the lines about the next step: commands to try while both listeners are open, or the URL to register.
    fn next(&self, open: &[OpenListener], environment: &Environment) -> String {
        if open.len() < 2 {
            return "  Register the callback URL in RemAuth's Customer Center.\n".to_owned();
        }
        // A new uaid at each start: the same callback again would be a duplicate.
        let uaid = Uaid::from_bytes(environment.rng.bytes());
        let public = self.public;
        let internal = self.internal;
        format!(
            "  Store an event, and look at it:\n\n\
             curl 'http://{public}/remauth_callback?authenticated={uaid}'\n\
             curl 'http://{internal}/v1/events'\n"
        )
    }

    /// Text about an open listener, with the address that it was bound to.
    fn named(&self, listener: &OpenListener) -> String {
        let bound = match listener {
            OpenListener::Public { .. } => self.public,
            OpenListener::Internal { .. } => self.internal,
        };
        listener.to_string().replace(&listener.listen().to_string(), &bound.to_string())
    }

    /// Reports readiness: one line in a JSON log, a banner in a text log.
    fn announce(
        &self,
        config: &Config,
        open: &[OpenListener],
        environment: &Environment,
        style: LogStyle,
        logs: &mut Logs,
    ) {
        let callback_url = self.callback_url(config);
        let store = store(config);
        let version = env!("CARGO_PKG_VERSION");
        if style == LogStyle::Json {
            tracing::info!(
                version, public_addr = %self.public, internal_addr = %self.internal, callback_url, store, "remgate is ready"
            );
            return;
        }
        let state = |is_open: bool| if is_open { "open" } else { "protected" };
        let public = state(open.iter().any(|listener| matches!(listener, OpenListener::Public { .. })));
        let internal = state(open.iter().any(|listener| matches!(listener, OpenListener::Internal { .. })));
        logs.print(&format!(
            "\n  remgate {version} is ready\n\n  callback URL       {callback_url}\n  public listener    http://{} \
             ({public})\n  internal listener  http://{} ({internal})\n  events are in      {store}\n\n{}\n",
            self.public, self.internal, self.next(open, environment),
        ));
    }
}

/// Location of the store, without a password.
fn store(config: &Config) -> String {
    match &config.database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    }
}
