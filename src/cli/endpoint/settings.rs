//! An endpoint's settings as flags, and the body that they become.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::process::Usage;
use crate::domain::{
    AttemptTimeout, EndpointName, EventType, Format, HumanDuration, Invalid, MaxInFlight, RateLimit,
    ServiceName,
};

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Name of the endpoint
    #[arg(long)]
    name: Option<EndpointName>,
    /// Only events of this type, such as remauth.authenticated; may be given several times [default: all remauth.*]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Only events about this service; may be given several times [default: all]
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<ServiceName>,
    /// Format of the events: standard, cloudevents or remauth
    #[arg(long)]
    format: Option<Format>,
    /// Only events whose authentication was expected (or not only those: =false)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    expected_only: Option<bool>,
    /// File with additional headers of each request, one `Name: value` a line; they are never shown again
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
    /// Waits after attempt 1, 2, ..., such as 5s,1m,1h
    #[arg(long, value_name = "WAITS", value_delimiter = ',')]
    schedule: Vec<HumanDuration>,
    /// Maximum time for an attempt
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<AttemptTimeout>,
    /// Maximum number of concurrent attempts
    #[arg(long, value_name = "NUMBER", value_parser = in_flight)]
    max_in_flight: Option<MaxInFlight>,
    /// Maximum rate of attempts, such as 50/s, 1000/m or 10/h
    #[arg(long, value_name = "RATE")]
    rate_limit: Option<RateLimit>,
    /// Sign with an ed25519 key as well, so that a receiver needs only its public half (or no more: =false)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    asymmetric: Option<bool>,
}

impl Settings {
    /// Returns the settings as the body of a request.
    pub(super) fn body(&self) -> anyhow::Result<Map<String, Json>> {
        let list = |empty: bool, all: Json| (!empty).then_some(all);
        let headers = self.header_file.as_deref().map(headers).transpose()?;
        let said = [
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("types", list(self.types.is_empty(), json!(self.types))),
            ("services", list(self.services.is_empty(), json!(self.services))),
            ("format", self.format.map(|format| json!(format))),
            ("expected_only", self.expected_only.map(Json::Bool)),
            ("headers", headers),
            ("schedule", list(self.schedule.is_empty(), json!(self.schedule))),
            ("timeout", self.timeout.map(|timeout| json!(timeout))),
            ("max_in_flight", self.max_in_flight.map(|limit| json!(limit))),
            ("rate_limit", self.rate_limit.map(|rate| json!(rate))),
            ("asymmetric", self.asymmetric.map(Json::Bool)),
        ];
        Ok(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

fn timeout(text: &str) -> Result<AttemptTimeout, Invalid> {
    text.parse::<HumanDuration>()?.try_into()
}

fn in_flight(text: &str) -> Result<MaxInFlight, Invalid> {
    text.parse::<u32>().unwrap_or_default().try_into()
}

/// Reads headers from a file. An error names the line and does not repeat it.
fn headers(path: &Path) -> anyhow::Result<Json> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut headers = Map::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').filter(|(name, _)| !name.trim().is_empty());
        let Some((name, value)) = header else {
            let text = format!("{}:{number}: a header is written `Name: value`", path.display());
            return Err(Usage(text).into());
        };
        headers.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(Json::Object(headers))
}
