//! `simulate`: the other sides, to practise with and to test against.

mod remotepc;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A RemotePC reseller account in memory
    Remotepc(remotepc::Options),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Remotepc(options) => remotepc::run(options),
    }
}
