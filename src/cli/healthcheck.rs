//! `healthcheck`: one short question to the internal door, for containers.

use std::time::Duration;

use clap::Args;

use super::client::{Client, Server};
use super::options::Global;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    server: Server,
}

const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(options: &Options, global: &Global) -> anyhow::Result<()> {
    Ok(Client::internal(&options.server, global)?.check("/readyz", TIMEOUT).await?)
}
