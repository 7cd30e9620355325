//! `simulate receiver`: a webhook receiver. It prints each request, whether it is genuine and whether it was received before, and
//! fails in the ways of real receivers.

mod behaviour;
mod connection;
mod memory;
mod report;
mod state;
mod troubles;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;

use crate::cli::key_ring::VerifyOptions;
use crate::cli::options::Global;
use crate::cli::output::{line, remark};
use crate::cli::simulate::listener::{GRACE, accept, listen};
use crate::lifecycle::{Lifecycle, StopSignals};

use behaviour::Behaviour;
use state::ReceiverState;

#[derive(Debug, Args)]
#[command(
    after_help = "Without a flag it answers 204, or 401 to what is not genuine. What it shall do can also stand in the \
URL, so that one receiver plays many endpoints: /status/500, /gone, /slow/5s, /fail-first/3, /rate-limit/5/s, \
/retry-after/30s, /hang, /reset, /drip, /endless, /flood, /garbage, /redirect, and several together: \
/crm/slow/2s/fail-first/3. Each path remembers for itself."
)]
pub(in crate::cli) struct Options {
    /// Listen on this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    #[command(flatten)]
    checking: VerifyOptions,
    #[command(flatten)]
    behaviour: Behaviour,
    /// Print one JSON object for each request
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(options: &Options, global: &Global) -> anyhow::Result<()> {
    let ring = options.checking.read(global)?;
    let verifier = (!ring.known.is_empty()).then(|| options.checking.verifier(&ring));
    let behaviour = options.behaviour.clone();
    let json = options.json;
    let state = ReceiverState { verifier, ring, behaviour, memory: Mutex::default(), json };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options.listen, state))
}

async fn serve(at: SocketAddr, state: ReceiverState) -> anyhow::Result<()> {
    let mut signals = StopSignals::watch()?;
    let listener = listen(at).await?;
    let here = format!("http://{}/", listener.local_addr()?);
    if !state.json {
        line(&here)?;
    }
    let checks = if state.verifier.is_some() {
        ""
    } else {
        "; signatures are not checked: see --endpoint and --secret-file"
    };
    remark(&format!("waiting for webhooks on {here}{checks}"));
    let state = Arc::new(state);
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(accept(listener, lifecycle.clone(), move |stream| {
        connection::serve(stream, Arc::clone(&state))
    }));
    signals.next().await;
    lifecycle.stop(GRACE, Duration::ZERO).await;
    Ok(())
}
