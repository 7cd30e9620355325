//! `event`: what has been received, from the internal door of a running remgate.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::client::{Client, Server};
use super::options::Global;
use super::{Usage, output, tail};
use crate::domain::{
    Clock, Cursor, EventId, EventType, HumanDuration, Limit, Page, ServiceName, SystemClock, Uaid,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List events, oldest first
    List(List),
    /// Show one event
    Show(Show),
    /// Follow events as they come, until Ctrl-C
    Tail(tail::Options),
}

/// Which events.
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
    /// As the internal door wants it.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let types = self.types.iter().map(|it| ("type", it.to_string()));
        let services = self.services.iter().map(|it| ("service", it.to_string()));
        types.chain(services).chain(self.uaid.map(|it| ("uaid", it.to_string()))).collect()
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
    /// Only those after this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with = "before")]
    after: Option<Cursor>,
    /// Only those before this cursor, with --order desc
    #[arg(long, value_name = "CURSOR")]
    before: Option<Cursor>,
    /// At most so many, 1 to 1000; with --all so many at a time
    #[arg(long, value_name = "NUMBER")]
    limit: Option<Limit>,
    /// Oldest or newest first
    #[arg(long, value_enum, default_value_t = Order::Asc)]
    order: Order,
    /// Every page, not only the first
    #[arg(long)]
    all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Oldest first
    Asc,
    /// Newest first
    Desc,
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

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::List(options) => list(options, &Client::internal(&options.server, global)?).await,
        Command::Show(options) => show(options, &Client::internal(&options.server, global)?).await,
        Command::Tail(options) => tail::run(options, &Client::internal(&options.server, global)?).await,
    }
}

async fn list(options: &List, client: &Client) -> anyhow::Result<()> {
    let (place, mut from) = match (options.order, options.after, options.before) {
        (Order::Asc, after, None) => ("after", after),
        (Order::Desc, None, before) => ("before", before),
        (Order::Asc, _, Some(_)) => return Err(Usage("--before goes with --order desc".to_owned()).into()),
        (Order::Desc, Some(_), _) => return Err(Usage("--after goes with --order asc".to_owned()).into()),
    };
    let mut fixed = options.filter.query();
    fixed.extend(options.since.map(|time| ("since", time.to_string())));
    fixed.extend(options.until.map(|time| ("until", time.to_string())));
    fixed.extend(options.limit.map(|limit| ("limit", limit.get().to_string())));
    if options.order == Order::Desc {
        fixed.push(("order", "desc".to_owned()));
    }
    if options.all && options.limit.is_none() {
        fixed.push(("limit", "1000".to_owned()));
    }
    let mut heads = (!options.json).then(output::event_heads);
    loop {
        let mut query = fixed.clone();
        query.extend(from.map(|cursor| (place, cursor.to_string())));
        let page: Page<Box<RawValue>> = client.get("/v1/events", &query, TIMEOUT).await?;
        heads.take().map_or(Ok(()), |heads| output::line(&heads))?;
        page.data.iter().try_for_each(|event| print(event, options.json))?;
        if !page.has_more {
            return Ok(());
        }
        if !options.all {
            output::remark(&format!("there are more: --{place} {}, or --all", page.cursor));
            return Ok(());
        }
        anyhow::ensure!(from != Some(page.cursor), "the server keeps answering with the same page");
        from = Some(page.cursor);
    }
}

async fn show(options: &Show, client: &Client) -> anyhow::Result<()> {
    let event: Box<RawValue> = client.get(&format!("/v1/events/{}", options.id), &[], TIMEOUT).await?;
    if options.json {
        return print(&event, true);
    }
    let event: serde_json::Map<String, Json> = serde_json::from_str(event.get())?;
    let width = event.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in &event {
        output::line(&format!("{name:<width$}  {}", output::field(value)))?;
    }
    Ok(())
}

/// One event on one line.
pub(super) fn print(event: &RawValue, as_json: bool) -> anyhow::Result<()> {
    if as_json && !event.get().contains('\n') {
        return Ok(output::line(event.get())?);
    }
    let event: Json = serde_json::from_str(event.get())?;
    Ok(output::line(&if as_json { event.to_string() } else { output::event_row(&event) })?)
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = text.parse::<HumanDuration>().ok();
    ago.and_then(|ago| SystemClock.now().checked_sub(ago.get()).ok())
        .ok_or_else(|| "a time is such as 2026-11-22T21:04:05Z, or 1h for an hour ago".to_owned())
}
