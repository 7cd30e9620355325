//! `migrate`: brings the database's tables up to date.

use super::output;
use crate::config::Loaded;
use crate::gateway;

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    super::process::block_on(gateway::migrate(&loaded.config))?;
    Ok(output::line("the database is up to date")?)
}
