//! Filter of events, and an event as one line.

use clap::Args;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::output::{self, field};
use super::table::{Column, TextTable};
use crate::domain::{EventType, RawJson, ServiceName, Subject, Trust, Uaid};

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
    /// Only with this trust: token, address, none or self; may be given several times
    #[arg(long = "trust", value_name = "TRUST")]
    trusts: Vec<Trust>,
    /// Only about this user, as the app named them
    #[arg(long)]
    subject: Option<Subject>,
}

impl EventSelection {
    /// Returns the filter as query parameters.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let types = self.types.iter().map(|event_type| ("type", event_type.to_string()));
        let services = self.services.iter().map(|service| ("service", service.to_string()));
        let uaid = self.uaid.iter().map(|uaid| ("uaid", uaid.to_string()));
        let trusts = self.trusts.iter().map(|trust| ("trust", trust.to_string()));
        let subject = self.subject.iter().map(|subject| ("subject", subject.as_str().to_owned()));
        types.chain(services).chain(uaid).chain(trusts).chain(subject).collect()
    }
}

/// Prints an event on one line.
pub(super) fn print(event: &RawValue, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(output::line(RawJson::parse(event.get())?.as_str())?);
    }
    let event: Json = output::fields(event)?.into();
    let cells = ["received_at", "type", "service", "uaid", "trust", "id"].map(|name| field(&event[name]));
    Ok(output::line(&EVENTS.row(&cells))?)
}

/// Columns of a list of events.
pub(super) const EVENTS: TextTable<6> = TextTable([
    Column::left("RECEIVED", 24),
    Column::left("TYPE", 24),
    Column::left("SERVICE", 12),
    Column::left("UAID", 32),
    Column::left("TRUST", 7),
    Column::last("ID"),
]);
