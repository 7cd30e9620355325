//! Filter of events, and an event as one line.

use clap::Args;
use serde_json::value::RawValue;

use super::output;
use crate::domain::{EventType, RawJson, ServiceName, Uaid};

/// Filter of events.
#[derive(Debug, Args)]
pub(super) struct EventSelection {
    /// Only of this type, such as remauth.authenticated; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Only about this service; may be given several times
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<ServiceName>,
    /// Only about this authentication
    #[arg(long)]
    uaid: Option<Uaid>,
}

impl EventSelection {
    /// The filter as query parameters.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let types = self.types.iter().map(|event_type| ("type", event_type.to_string()));
        let services = self.services.iter().map(|service| ("service", service.to_string()));
        types.chain(services).chain(self.uaid.map(|uaid| ("uaid", uaid.to_string()))).collect()
    }
}

/// One event on one line.
pub(super) fn print(event: &RawValue, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(output::line(RawJson::parse(event.get())?.as_str())?);
    }
    Ok(output::line(&output::event_row(&output::fields(event)?.into()))?)
}
