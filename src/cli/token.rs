//! `token`: secrets for callback URLs.

use std::io::{self, IsTerminal};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::json;

use super::options::Global;
use super::output;
use crate::config::PublicConfig;
use crate::domain::{RandomSource, ServiceName};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a new token of 256 random bits; it is valid once it is in the configuration
    New {
        /// Service of the token
        #[arg(long, value_name = "NAME", default_value = "default")]
        service: ServiceName,
        /// Print one JSON object: `token` and `callback_url`
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    let Command::New { service, json: as_json } = command;
    let token = URL_SAFE_NO_PAD.encode(RandomSource::from_os().bytes::<32>());
    // A configuration that lacks only this token is no reason to fail.
    let url = match global.load() {
        Ok(loaded) => loaded.config.public.callback_url(Some(&token)),
        Err(error) => {
            output::remark(&format!("warning: {error}"));
            PublicConfig::callback_path(Some(&token))
        }
    };
    if *as_json {
        output::line(&json!({"token": token, "callback_url": url}).to_string())?;
    } else {
        output::line(&token)?;
    }
    if io::stderr().is_terminal() {
        let place = if *service == ServiceName::default_service() {
            "`tokens` of [callback], or REMGATE__CALLBACK__TOKENS".to_owned()
        } else {
            format!("`tokens` of the [[service]] named {service}")
        };
        output::remark(&format!(
            "add it to {place}, start remgate again, then register this URL in the Customer Center:"
        ));
        output::remark(&url);
    }
    Ok(())
}
