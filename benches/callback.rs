//! Benchmark of durable callbacks: their rate, the delay of their forwarding, and start time and memory of the gateway.
//!
//! `scripts/bench` runs it. The load, the endpoint and the database share the machine's cores with the gateway, so
//! rates are held to a bound as a ratio to `/livez`, which costs nothing but HTTP.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use remgate::domain::RandomSource;

use support::machine;
use support::measure::{Effort, Subject};
use support::report::{Figure, document, table};
use support::server::Server;

/// Measures remgate on this machine and fails when a bound is missed.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
struct Options {
    /// Only this engine: sqlite or postgres
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// The figures as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Seconds instead of minutes: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Folder for the stores, on the disk to be measured
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Another binary than the one just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_remgate"))]
    binary: PathBuf,
    /// Show what the gateway logs, which costs it something
    #[arg(long)]
    show_log: bool,
    /// Passed by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

const WHOLE: Effort = Effort {
    rounds: 3,
    warm_up: Duration::from_secs(1),
    span: Duration::from_secs(5),
    followed: 400,
    starts: 10,
};
const QUICK: Effort = Effort {
    rounds: 1,
    warm_up: Duration::from_millis(200),
    span: Duration::from_secs(1),
    followed: 40,
    starts: 3,
};

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    for engine in ["sqlite", "postgres"] {
        if options.engine.as_ref().is_none_or(|only| only == engine) {
            let subject = subject(engine, &options);
            figures.extend(runtime.block_on(subject.figures()).map_err(|e| e.context(engine))?);
        }
    }
    let machine = machine::describe(&options.folder);
    if options.json {
        println!("{:#}", document(&machine, &figures));
    } else {
        println!("{}", table(&machine, &figures));
    }
    let held = figures.iter().all(Figure::holds);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn subject(engine: &'static str, options: &Options) -> Subject {
    // PostgreSQL's own settings: a commit is on disk before it is answered.
    let server = (engine == "postgres").then(|| Server::start("", &options.folder));
    Subject {
        engine,
        binary: options.binary.clone(),
        folder: options.folder.clone(),
        server,
        show_log: options.show_log,
        rng: RandomSource::from_os(),
        effort: if options.quick { QUICK } else { WHOLE },
    }
}
