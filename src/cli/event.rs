//! `event`: lists, shows, follows and replays events, by the internal listener of a running remgate.

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::client::{ApiClient, ServerOptions, TIMEOUT};
use super::endpoint_name::id_of;
use super::event_filter::{EVENTS, EventSelection, print};
use super::options::Global;
use super::paging::PagingOptions;
use super::table::print_fields;
use super::time::moment;
use super::{output, tail};
use crate::domain::{EndpointName, EventId};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List events, oldest first
    List(ListEvents),
    /// Show one event
    Show(ShowEvent),
    /// Deliver an event again
    Replay(Replay),
    /// Follow events as they come, until Ctrl-C
    Tail(tail::Options),
}

#[derive(Debug, Args)]
pub(super) struct ListEvents {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    filter: EventSelection,
    /// Only those received then or later: a time such as 2026-11-22T21:04:05Z, or so long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those received before then: a time, or so long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    paging: PagingOptions,
}

#[derive(Debug, Args)]
pub(super) struct ShowEvent {
    #[command(flatten)]
    server: ServerOptions,
    /// The event's id, evt_...
    id: EventId,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    server: ServerOptions,
    /// The event's id, evt_...
    id: EventId,
    /// Only to this endpoint, by its name or id, also when it wants no such event; may be given several times
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<EndpointName>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::List(options) => list(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Show(options) => show(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Replay(options) => replay(options, global).await,
        Command::Tail(options) => tail::run(options, &ApiClient::internal(&options.server, global)?).await,
    }
}

async fn list(options: &ListEvents, client: &ApiClient) -> anyhow::Result<()> {
    let mut filter = options.filter.query();
    filter.extend(options.since.map(|time| ("since", time.to_string())));
    filter.extend(options.until.map(|time| ("until", time.to_string())));
    options.paging.print(client, "/v1/events", filter, &EVENTS.headings(), print).await
}

async fn show(options: &ShowEvent, client: &ApiClient) -> anyhow::Result<()> {
    let event: Box<RawValue> = client.get(&format!("/v1/events/{}", options.id), &[], TIMEOUT).await?;
    if options.json {
        return print(&event, true);
    }
    print_fields(&output::fields(&event)?)
}

async fn replay(options: &Replay, global: &Global) -> anyhow::Result<()> {
    let client = ApiClient::internal(&options.server, global)?;
    let mut named = Vec::new();
    for name in &options.endpoints {
        named.push(id_of(&client, name).await?);
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
