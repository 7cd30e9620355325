//! `simulate remotepc`: a reseller account that follows RemotePC's document to the letter.
//!
//! Its state is in memory. It prints one line for each request, never a password, and fails on demand in every way that upstream
//! does.

mod account;
mod body;
mod connection;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::SecretString;

use crate::cli::output::{line, remark};
use crate::cli::simulate::listener::{GRACE, accept, listen};
use crate::domain::{HumanDuration, RandomSource};
use crate::lifecycle::{Lifecycle, StopSignals};

use account::{Account, AccountTrouble};
use wire::{BASE, SimulatedServer};

/// Default API key of the simulated account.
const KEY: &str = "simulated-reseller-key";

#[derive(Debug, Args)]
#[command(
    after_help = "Addresses that ask for an answer by their name, at any domain: sim-exists, sim-suspended, \
sim-blocked, sim-cancelled, sim-emailid, sim-email, sim-unknown (refused with upstream's words); sim-unauthorized (401), sim-forbidden (403), \
sim-error (500), sim-slow, sim-down, sim-garbage, sim-redirect. For example sim-slow@example.com."
)]
pub(in crate::cli) struct Options {
    /// Listen on this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// File with the API key, instead of `simulated-reseller-key`
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Number of invited users at the start
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    users: u32,
    /// Fail every request in this way
    #[arg(long, value_enum)]
    trouble: Option<AccountTrouble>,
    /// Delay of a slow answer
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    slow_by: HumanDuration,
}

pub(in crate::cli) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let mut signals = StopSignals::watch()?;
    let key = match &options.key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            SecretString::from(text.trim())
        }
        None => KEY.into(),
    };
    let listener = listen(options.listen).await?;
    let base = format!("http://{}{BASE}", listener.local_addr()?);
    let server = SimulatedServer {
        account: Mutex::new(Account::with_users(options.users, &wire::now())),
        key,
        base: base.clone(),
        trouble: options.trouble,
        slow_by: options.slow_by.get(),
        rng: RandomSource::from_os(),
    };
    line(&base)?;
    remark(&format!(
        "a simulated RemotePC account; try it with REMGATE__REMOTEPC__BASE_URL={base} REMGATE__REMOTEPC__API_KEY={}",
        if options.key_file.is_some() { "<the key in your file>" } else { KEY }
    ));
    let lifecycle = Lifecycle::new();
    let server = Arc::new(server);
    lifecycle.spawn(accept(listener, lifecycle.clone(), move |stream| {
        connection::serve(stream, Arc::clone(&server))
    }));
    signals.next().await;
    lifecycle.stop(GRACE, Duration::ZERO).await;
    Ok(())
}
