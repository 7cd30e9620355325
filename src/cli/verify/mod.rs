//! `verify`: checks whether a received request was sent by remgate, and explains a failure.
//!
//! No server is asked: a secret or a public key, three headers and the body are enough.

mod headers;
mod hints;

use std::error::Error;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::key_ring::{Ring, VerifyOptions};
use super::options::Global;
use super::output;
use super::process::Usage;
use crate::domain::{Clock, Signed, SystemClock, Unverified, Verified};
use headers::ReceivedHeaders;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it is genuine, 1 it is not, 2 it could not be checked.\n\
                        Example: remgate verify --endpoint crm --headers headers.txt --body body.json")]
pub(super) struct Options {
    #[command(flatten)]
    checking: VerifyOptions,
    /// Take secrets from standard input, one a line; the body is then in a file
    #[arg(long)]
    secret_stdin: bool,
    /// Take the headers from this file: lines as a receiver logged them, or one JSON object
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// The header webhook-id
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// The header webhook-timestamp
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    timestamp: Option<String>,
    /// The header webhook-signature, with all the signatures in it
    #[arg(long, value_name = "TEXT")]
    signature: Option<String>,
    /// The body, byte for byte; `-` is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    body: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Result of a check that failed: the faults, and hints at their cause.
#[derive(Debug, thiserror::Error)]
#[error("not genuine: {faults}{}", .hints.iter().flat_map(|hint| ["\n  ", hint]).collect::<String>())]
struct NotGenuine {
    faults: Unverified,
    hints: Vec<String>,
}

pub(super) fn run(options: &Options, global: &Global) -> anyhow::Result<()> {
    let ring = ring(options, global)?;
    let given = given(options)?;
    let body = body(options)?;
    let signed =
        Signed { id: &given.id, timestamp: &given.timestamp, signature: &given.signature, body: &body };
    let now = SystemClock.now();
    match options.checking.verifier(&ring).verify(&signed, now) {
        Ok(verified) => genuine(options, &ring, &given.id, verified, now),
        Err(faults) => {
            let hints = hints::hints(&faults, &signed, &ring, now);
            let not_genuine = NotGenuine { faults, hints };
            if options.json {
                output::line(&refusal(&given.id, &not_genuine).to_string())?;
            }
            Err(not_genuine.into())
        }
    }
}

fn ring(options: &Options, global: &Global) -> anyhow::Result<Ring> {
    let mut ring = options.checking.read(global).map_err(unchecked)?;
    if options.secret_stdin {
        if is_stdin(&options.body) {
            return Err(Usage(
                "standard input brings either the secret or the body: give the body with --body FILE"
                    .to_owned(),
            )
            .into());
        }
        let text =
            io::read_to_string(io::stdin()).context("failed to read standard input").map_err(unchecked)?;
        ring.add(&text, "the secret of standard input")?;
    }
    if ring.known.is_empty() {
        return Err(Usage(
            "say what to check with: --endpoint, --secret-file, --secret-stdin or --public-key".to_owned(),
        )
        .into());
    }
    Ok(ring)
}

/// The three headers: what the flags say, else what the file says. One that is missing in both is an empty text when
/// there is a file, since the request then lacks it, and a wrong usage otherwise.
fn given(options: &Options) -> anyhow::Result<ReceivedHeaders> {
    let logged = match &options.headers {
        None => None,
        Some(path) => {
            let text = read(path).map_err(unchecked)?;
            let read = ReceivedHeaders::read(&String::from_utf8_lossy(&text));
            Some(read.map_err(|why| Usage(format!("{}: {why}", path.display())))?)
        }
    };
    let pick = |flag: &Option<String>, name: &str, logged: Option<String>| match (flag, logged) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(text)) => Ok(text),
        (None, None) => Err(Usage(format!("give --{name}, or --headers FILE"))),
    };
    let ReceivedHeaders { id, timestamp, signature } = logged.clone().unwrap_or_default();
    let there = |text: String| logged.is_some().then_some(text);
    Ok(ReceivedHeaders {
        id: pick(&options.id, "id", there(id))?,
        timestamp: pick(&options.timestamp, "timestamp", there(timestamp))?,
        signature: pick(&options.signature, "signature", there(signature))?,
    })
}

fn body(options: &Options) -> anyhow::Result<Vec<u8>> {
    if !is_stdin(&options.body) {
        return read(&options.body).map_err(unchecked);
    }
    if io::stdin().is_terminal() {
        output::remark("reading the body from the terminal; Ctrl-D ends it");
    }
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body).context("failed to read standard input").map_err(unchecked)?;
    Ok(body)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Turns an error that prevented the check into one that cannot be mistaken for a forgery. An unusable configuration
/// stays one.
fn unchecked(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn Error>::is::<io::Error>) { Usage(format!("{error:#}")).into() } else { error }
}

fn genuine(
    options: &Options,
    ring: &Ring,
    id: &str,
    Verified { at, by }: Verified,
    now: Timestamp,
) -> anyhow::Result<()> {
    let by = &ring.known[by].name;
    if options.json {
        let age = now.as_second() - at.as_second();
        let line = json!({"genuine": true, "id": id, "signed_at": at, "age_seconds": age, "signed_with": by});
        return Ok(output::line(&line.to_string())?);
    }
    Ok(output::line(&format!("genuine: {} was signed at {at} with {by}", output::field(&id.into())))?)
}

fn refusal(id: &str, NotGenuine { faults, hints }: &NotGenuine) -> Json {
    let faults: Vec<_> =
        faults.0.iter().map(|fault| json!({"fault": fault.name(), "text": fault.to_string()})).collect();
    json!({"genuine": false, "id": id, "faults": faults, "hints": hints})
}
