//! Command line: parsing, subcommands, error messages and exit codes.
//!
//! Data goes to stdout, everything else to stderr. No secret is printed but those that `token new`, `key add`, `endpoint add`
//! and `endpoint rotate` create.

mod client;
mod completions;
mod config;
mod delivery;
mod endpoint;
mod endpoint_name;
mod event;
mod event_filter;
mod healthcheck;
mod key;
mod key_ring;
mod migrate;
mod options;
mod output;
mod paging;
mod process;
mod progress;
mod remotepc;
mod runtime_file;
mod serve;
mod simulate;
mod table;
mod tail;
mod time;
mod token;
mod trigger;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{ConfigError, OpenListeners};
use options::Global;
use process::{Stopped, Usage, block_on, block_on_thread, block_on_with_signals};

/// Exit code of a failed command.
const FAILED: u8 = 1;
/// Exit code of wrong usage.
const USAGE: u8 = 2;
/// Exit code of an unusable configuration (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// The customer's side of RemAuth: receives callbacks, stores and forwards them, and proxies RemotePC's reseller API
#[derive(Debug, Parser)]
#[command(
    name = "remgate",
    version,
    after_help = "Without a command: serve. Configuration: --config, else REMGATE_CONFIG, else ./remgate.toml, else \
                  /etc/remgate/remgate.toml; then REMGATE__SECTION__KEY; then the flags.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 78 unusable configuration."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until a signal stops it (the default)
    Serve,
    /// Check, show or print the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Migrate the database schema to this version
    Migrate,
    /// Check whether a running remgate is ready; for containers
    Healthcheck(healthcheck::Options),
    /// Generate tokens for callback URLs
    #[command(subcommand)]
    Token(token::Command),
    /// Send a callback to the public listener, as RemAuth would
    Trigger(trigger::Options),
    /// List, show, follow and replay events
    #[command(subcommand)]
    Event(event::Command),
    /// Inspect, retry and cancel deliveries
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Manage webhook endpoints
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// List, add, invite and sign in RemotePC users
    #[command(subcommand, name = "remotepc")]
    RemotePc(remotepc::Command),
    /// Check whether a received request was sent by remgate
    Verify(verify::Options),
    /// Simulate a webhook receiver or a RemotePC account
    #[command(subcommand)]
    Simulate(simulate::Command),
    /// Manage API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Print a shell's completion script
    Completions(completions::Options),
}

/// Runs the process's command line.
#[must_use]
pub fn main() -> ExitCode {
    // Only a second call can fail, after the provider is installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(USAGE).into();
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = &cli.global;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&global.load()?),
        Command::Config(command) => config::run(&command, global),
        Command::Migrate => migrate::run(&global.load()?),
        Command::Healthcheck(options) => block_on(healthcheck::run(&options, global)),
        Command::Token(command) => token::run(&command, global),
        Command::Trigger(options) => block_on(trigger::run(&options, global)),
        Command::Event(command) => block_on(event::run(&command, global)),
        Command::Delivery(command) => block_on(delivery::run(&command, global)),
        Command::Endpoint(command) => block_on(endpoint::run(&command, global)),
        Command::Key(command) => block_on(key::run(&command, global)),
        Command::Verify(options) => {
            let global = cli.global;
            block_on_thread(move || verify::run(&options, &global))
        }
        Command::Simulate(command) => simulate::run(&command, global),
        Command::RemotePc(command) => {
            block_on_with_signals(async |signals| remotepc::run(&command, global, signals).await)
        }
        Command::Completions(options) => completions::run(&options, &mut Cli::command()),
    }
}

/// Returns an error with its causes, each once: many errors repeat their cause in their own text.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.contains(&cause) => said.to_owned(),
        said => format!("{said}: {cause}"),
    })
}

/// Prints an error and returns the exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
    if broken_pipe {
        // The reader of the output has closed it.
        return ExitCode::SUCCESS;
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.exit_code().into();
    }
    let _ = writeln!(io::stderr(), "remgate: {}", sentence(error));
    if error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<OpenListeners>()) {
        CONFIGURATION.into()
    } else if error.is::<Usage>() {
        USAGE.into()
    } else {
        FAILED.into()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
