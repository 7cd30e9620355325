//! `event`: lists, shows, follows and replays events, by the internal listener of a running remgate.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::client::{Client, Server};
use super::options::Global;
use super::paging::Paging;
use super::{endpoint, output, tail};
use crate::domain::{
    Clock, EndpointName, EventId, EventType, HumanDuration, RawJson, ServiceName, SystemClock, Uaid,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List events, oldest first
    List(List),
    /// Show one event
    Show(Show),
    /// Deliver an event again
    Replay(Replay),
    /// Follow events as they come, until Ctrl-C
    Tail(tail::Options),
}

/// Filter of the events.
#[derive(Debug, Args)]
pub(super) struct Filter {
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

impl Filter {
    /// The filter as query parameters.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let types = self.types.iter().map(|event_type| ("type", event_type.to_string()));
        let services = self.services.iter().map(|service| ("service", service.to_string()));
        types.chain(services).chain(self.uaid.map(|uaid| ("uaid", uaid.to_string()))).collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    filter: Filter,
    /// Only those received then or later: a time such as 2026-11-22T21:04:05Z, or so long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those received before then: a time, or so long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    server: Server,
    /// The event's id, evt_...
    id: EventId,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    server: Server,
    /// The event's id, evt_...
    id: EventId,
    /// Only to this endpoint, by its name or id, also when it wants no such event; may be given several times
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<EndpointName>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::List(options) => list(options, &Client::internal(&options.server, global)?).await,
        Command::Show(options) => show(options, &Client::internal(&options.server, global)?).await,
        Command::Replay(options) => replay(options, global).await,
        Command::Tail(options) => tail::run(options, &Client::internal(&options.server, global)?).await,
    }
}

async fn list(options: &List, client: &Client) -> anyhow::Result<()> {
    let mut filter = options.filter.query();
    filter.extend(options.since.map(|time| ("since", time.to_string())));
    filter.extend(options.until.map(|time| ("until", time.to_string())));
    let heads = output::event_heads();
    options.paging.print(client, "/v1/events", filter, &heads, print).await
}

async fn show(options: &Show, client: &Client) -> anyhow::Result<()> {
    let event: Box<RawValue> = client.get(&format!("/v1/events/{}", options.id), &[], TIMEOUT).await?;
    if options.json {
        return print(&event, true);
    }
    let event = output::fields(&event)?;
    let width = event.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in &event {
        output::line(&format!("{name:<width$}  {}", output::field(value)))?;
    }
    Ok(())
}

async fn replay(options: &Replay, global: &Global) -> anyhow::Result<()> {
    let client = Client::internal(&options.server, global)?;
    let mut named = Vec::new();
    for name in &options.endpoints {
        named.push(endpoint::id_of(&client, name).await?);
    }
    let body = if named.is_empty() { json!({}) } else { json!({ "endpoints": named }) };
    let path = format!("/v1/events/{}/replay", options.id);
    let made: Json = client.send(Method::POST, &path, &body, TIMEOUT).await?;
    if options.json {
        return Ok(output::line(&made.to_string())?);
    }
    let made = made["deliveries"].as_array().context("the answer holds no list")?;
    made.iter().try_for_each(|id| output::line(&output::field(id)))?;
    if made.is_empty() {
        output::remark("no enabled endpoint wants this event; --endpoint sends it to one all the same");
    }
    Ok(())
}

/// One event on one line.
pub(super) fn print(event: &RawValue, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(output::line(RawJson::parse(event.get())?.as_str())?);
    }
    Ok(output::line(&output::event_row(&output::fields(event)?.into()))?)
}

/// A time, or how long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = text.parse::<HumanDuration>().ok();
    ago.and_then(|ago| SystemClock.now().checked_sub(ago.get()).ok())
        .ok_or_else(|| "a time is such as 2026-11-22T21:04:05Z, or 1h for an hour ago".to_owned())
}
