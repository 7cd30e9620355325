//! `simulate`: a webhook receiver and a RemotePC account for tests.

mod listener;
mod receiver;
mod remotepc;

use clap::Subcommand;

use super::options::Global;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A RemotePC reseller account in memory
    Remotepc(remotepc::Options),
    /// A webhook receiver: prints requests, verifies their signatures, and fails on demand
    Receiver(receiver::Options),
}

pub(super) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Remotepc(options) => remotepc::run(options),
        Command::Receiver(options) => receiver::run(options, global),
    }
}
