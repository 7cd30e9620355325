//! `config`: checks the configuration, shows the values in effect with their origin, and prints the defaults.

use std::io::{self, Write};
use std::path::Path;

use clap::Subcommand;
use serde_json::{Map, json};

use super::options::Global;
use super::output;
use crate::config::{DEFAULTS, Loaded};
use crate::gateway;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that remgate would start with it
    Check,
    /// Show every value in effect, and the layer it came from; secrets are masked
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the file of defaults: every key, explained
    Default,
}

pub(super) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Check => check(&global.load()?),
        Command::Show { json } => show(&global.load()?, *json),
        Command::Default => Ok(io::stdout().write_all(DEFAULTS.as_bytes())?),
    }
}

fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let has_stored_key = super::process::block_on(async {
        gateway::check_access(config).await?;
        Ok(gateway::has_stored_admin_key(config).await)
    })?;
    // The same warnings as those of `serve`.
    let open = config.open_listeners(has_stored_key);
    let unreachable = gateway::unreachable_endpoints(config, [config.public.listen, config.internal.listen]);
    for warning in
        loaded.warnings.iter().cloned().chain(open.iter().map(ToString::to_string)).chain(unreachable)
    {
        output::remark(&format!("warning: {warning}"));
    }
    let file = loaded.file.as_deref().map(Path::display);
    let file =
        file.map_or_else(|| "no file, only defaults, environment and flags".to_owned(), |f| f.to_string());
    Ok(output::line(&format!("OK ({file})"))?)
}

fn show(loaded: &Loaded, as_json: bool) -> anyhow::Result<()> {
    for warning in &loaded.warnings {
        output::remark(&format!("warning: {warning}"));
    }
    if as_json {
        let values: Map<_, _> = loaded
            .effective
            .iter()
            .map(|value| (value.key.clone(), json!({"value": value.value, "layer": value.layer})))
            .collect();
        let file = loaded.file.as_deref().map(|path| path.display().to_string());
        let whole = json!({"file": file, "values": values, "warnings": loaded.warnings});
        return Ok(output::line(&whole.to_string())?);
    }
    let lines: Vec<_> = loaded
        .effective
        .iter()
        .map(|value| (format!("{} = {}", value.key, value.value), &value.layer))
        .collect();
    // Very long values, such as the schedule, do not widen the column for all others.
    let width =
        lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= 72).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (line, layer) in lines {
        writeln!(out, "{line:<width$}   # {layer}")?;
    }
    Ok(())
}
