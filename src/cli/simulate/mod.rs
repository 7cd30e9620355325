//! `simulate`: the other sides, to practise with and to test against.

mod listener;
mod receiver;
mod remotepc;

use clap::Subcommand;

use super::options::Global;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A RemotePC reseller account in memory
    Remotepc(remotepc::Options),
    /// An endpoint: prints what it receives, says whether it is genuine, and misbehaves on demand
    Receiver(receiver::Options),
}

pub(super) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Remotepc(options) => remotepc::run(options),
        Command::Receiver(options) => receiver::run(options, global),
    }
}
