//! `simulate receiver`: an endpoint to practise with. It prints what it receives, says whether it is genuine and whether
//! it was there before, and misbehaves as real receivers do.

mod behaviour;
mod connection;
mod memory;
mod report;
mod troubles;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::request::Parts;

use crate::cli::key_ring::{Ring, VerifyOptions};
use crate::cli::options::Global;
use crate::cli::output::{line, remark};
use crate::cli::simulate::listener::{GRACE, accept, listen};
use crate::domain::{Clock, HumanDuration, Signed, SystemClock, Verified, Verifier};
use crate::lifecycle::{Lifecycle, StopSignals};

use behaviour::{Behaviour, Reply};
use memory::Memory;
use report::{Report, SignatureCheck};

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

/// State that all connections share.
struct ReceiverState {
    /// Nothing when there is nothing to check with.
    verifier: Option<Verifier>,
    ring: Ring,
    behaviour: Behaviour,
    memory: Mutex<Memory>,
    json: bool,
}

/// Decision about a request.
struct Decision {
    wait: Duration,
    reply: Reply,
    /// Text of the answer, for people.
    text: String,
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
    signals.first().await;
    lifecycle.stop(GRACE, Duration::ZERO).await;
    Ok(())
}

impl ReceiverState {
    /// Looks at a request, prints what it is and what it gets, and says the latter.
    fn receive(&self, head: &Parts, body: &Bytes) -> Decision {
        let verdict = self.verdict(head, body);
        let mut report = Report::new(head, body, verdict);
        let decision = self.decide(&mut report);
        let text = if self.json { report.json(&decision).to_string() } else { report.text(&decision) };
        // The output may be closed.
        let _ = line(&text);
        decision
    }

    fn verdict(&self, head: &Parts, body: &[u8]) -> SignatureCheck {
        let Some(verifier) = &self.verifier else { return SignatureCheck::Unchecked };
        let text = |name| report::header(head, name).unwrap_or_default();
        let id = text("webhook-id");
        let timestamp = text("webhook-timestamp");
        let signed = Signed { id, timestamp, signature: text("webhook-signature"), body };
        match verifier.verify(&signed, SystemClock.now()) {
            Ok(Verified { by, .. }) => SignatureCheck::Genuine(self.ring.known[by].name.clone()),
            Err(faults) => SignatureCheck::Not(faults),
        }
    }

    fn decide(&self, report: &mut Report) -> Decision {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let path = report.path.clone();
        let asked = match self.behaviour.at(&path) {
            Ok(asked) => asked,
            Err(why) => {
                let reply = Reply::Status(http::StatusCode::NOT_FOUND, None);
                return Decision { wait: Duration::ZERO, reply, text: why };
            }
        };
        let wait = asked.slow.map_or(Duration::ZERO, HumanDuration::get);
        let taken = asked.rate_limit.map_or(Ok(()), |rate| memory.take(&path, rate, SystemClock.instant()));
        if let Err(wait_for) = taken {
            return Decision { wait, reply: asked.too_many(wait_for), text: "too many at once".to_owned() };
        }
        let is_genuine = !matches!(report.verdict, SignatureCheck::Not(_));
        let reply = match &report.id {
            None => asked.reply(1, is_genuine),
            Some(id) => {
                report.tries = memory.note(&path, id);
                let reply = asked.reply(report.tries.attempt, is_genuine);
                if reply.accepts() {
                    memory.accept(&path, id);
                }
                reply
            }
        };
        Decision { wait, reply, text: String::new() }
    }
}
