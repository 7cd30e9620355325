//! `trigger`: sends a callback as RemAuth does.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::options::Global;
use super::process::Usage;
use super::{client, output};
use crate::config::{Config, PublicConfig, ServiceConfig};
use crate::domain::{CallbackType, EventType, RandomSource, ServiceName, Uaid};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Type of the callback
    #[arg(value_name = "TYPE")]
    kind: TriggerKind,
    /// The authentication's id, 32 hexadecimal digits; a random one if there is none
    uaid: Option<Uaid>,
    /// Service of the callback; the token is taken from the configuration
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// Send it to the public listener at this URL instead of the configured one
    #[arg(long, value_name = "URL", value_parser = client::base_url)]
    url: Option<Url>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TriggerKind {
    /// A user authenticated
    Authenticated,
    /// A user authenticated for the first time
    Registricated,
    /// A user subscribed to an existing system
    Subscribed,
}

impl From<TriggerKind> for CallbackType {
    fn from(kind: TriggerKind) -> Self {
        match kind {
            TriggerKind::Authenticated => Self::Authenticated,
            TriggerKind::Registricated => Self::Registricated,
            TriggerKind::Subscribed => Self::Subscribed,
        }
    }
}

/// Answer in RemAuth's envelope.
#[derive(Deserialize)]
struct CallbackAnswer {
    code: String,
    msg: String,
    #[serde(default)]
    data: Json,
}

const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn run(options: &Options, global: &Global) -> anyhow::Result<()> {
    let config = global.load()?.config;
    let service = chosen(options.service.as_ref(), &config)?;
    let kind = CallbackType::from(options.kind);
    let uaid = options.uaid.unwrap_or_else(|| Uaid::from_bytes(RandomSource::from_os().bytes()));
    let base = match &options.url {
        Some(base) => base.clone(),
        None => client::listener_url(config.public.listen).context("public.listen")?,
    };
    let token = service.tokens.first().map(ExposeSecret::expose_secret);
    let url = client::at(&base, &PublicConfig::callback_path(token), &[(kind.as_str(), uaid.to_string())]);
    let event = sent(&base, url).await?;
    if options.json {
        let kind = EventType::from(kind);
        let line = json!({"event": event, "type": kind, "service": service.name, "uaid": uaid});
        return Ok(output::line(&line.to_string())?);
    }
    output::line(&format!("event  {}", output::field(&event)))?;
    Ok(output::line(&format!("uaid   {uaid}"))?)
}

/// Returns the named service, else `default`, else the only one.
fn chosen<'a>(name: Option<&ServiceName>, config: &'a Config) -> anyhow::Result<&'a ServiceConfig> {
    let default = ServiceName::default_service();
    let wanted = name.unwrap_or(&default);
    let found = config.services.iter().find(|service| service.name == *wanted);
    match (found, config.services.as_slice()) {
        (Some(service), _) => Ok(service),
        (None, [only]) if name.is_none() => Ok(only),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|service| service.name.as_str()).collect();
            let text = match name {
                Some(name) => format!("there is no service {name}; there are {}", names.join(", ")),
                None => format!("name one of the services with --service: {}", names.join(", ")),
            };
            Err(Usage(text).into())
        }
    }
}

/// Sends the callback and returns the event's id. No error contains the URL, which holds the token.
async fn sent(base: &Url, url: Url) -> anyhow::Result<Json> {
    let request = client::http_client(base)?.get(url).timeout(TIMEOUT);
    let response = request.send().await.map_err(|error| client::no_answer(base, error))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| client::no_answer(base, error))?;
    let envelope = serde_json::from_slice::<CallbackAnswer>(&body);
    match envelope {
        Ok(envelope) if status.is_success() && envelope.code == "200" => Ok(envelope.data),
        Ok(CallbackAnswer { code, msg, data }) => {
            let msg = output::field(&msg.into());
            let data = if data.is_null() { String::new() } else { format!(" ({})", output::field(&data)) };
            bail!("{base} refused the callback: {} {msg}{data}", output::field(&code.into()))
        }
        Err(_) => bail!("{base} answered {status}, but not as remgate's public listener does"),
    }
}
