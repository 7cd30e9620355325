//! `healthcheck`: asks the internal listener whether remgate is ready, for containers.

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::client::{ApiClient, ServerOptions};
use super::options::Global;
use super::runtime_file;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the listener that `--server` or a flag of the configuration names; else that of the process which runs in this folder; else
/// that of the configuration.
pub(super) async fn run(options: &Options, global: &Global) -> anyhow::Result<()> {
    let client = if options.server.is_named() || global.is_given() {
        ApiClient::internal(&options.server, global)?
    } else {
        match runtime_file::running_here().as_slice() {
            [] => ApiClient::internal(&options.server, global)?,
            [address] => ApiClient::at(*address)?,
            several => {
                let addresses: Vec<_> =
                    several.iter().map(|address| format!("--server http://{address}")).collect();
                bail!(
                    "several remgate processes run in this folder; choose one by {}",
                    addresses.join(" or ")
                );
            }
        }
    };
    Ok(client.check("/readyz", TIMEOUT).await?)
}
