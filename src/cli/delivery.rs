//! `delivery`: inspects, retries and cancels deliveries, by the internal listener of a running remgate.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::client::{ApiClient, ServerOptions, TIMEOUT};
use super::endpoint_name::id_of;
use super::options::Global;
use super::output;
use super::paging::PagingOptions;
use super::progress::Progress;
use super::table::{Column, TextTable, print_fields};
use crate::domain::{DeliveryId, DeliveryState, EndpointName, EventId};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List deliveries, oldest first
    List(ListDeliveries),
    /// Show one delivery with its attempts
    Show(ShowDelivery),
    /// Attempt deliveries again now; exhausted and cancelled ones begin their schedule anew
    Retry(Many),
    /// Cancel open deliveries
    Cancel(Many),
}

#[derive(Debug, Args)]
pub(super) struct ListDeliveries {
    #[command(flatten)]
    server: ServerOptions,
    /// Only to this endpoint, by its name or id
    #[arg(long, value_name = "NAME")]
    endpoint: Option<EndpointName>,
    /// Only of this event
    #[arg(long, value_name = "EVENT")]
    event: Option<EventId>,
    /// Only in this state: pending, sending, succeeded, exhausted or cancelled
    #[arg(long)]
    state: Option<DeliveryState>,
    #[command(flatten)]
    paging: PagingOptions,
}

#[derive(Debug, Args)]
pub(super) struct ShowDelivery {
    #[command(flatten)]
    server: ServerOptions,
    /// The delivery's id, dlv_...
    id: DeliveryId,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Many {
    #[command(flatten)]
    server: ServerOptions,
    /// The deliveries' ids, dlv_...
    #[arg(required = true)]
    ids: Vec<DeliveryId>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::List(options) => list(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Show(options) => show(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Retry(options) => each(options, global, "retry").await,
        Command::Cancel(options) => each(options, global, "cancel").await,
    }
}

async fn list(options: &ListDeliveries, client: &ApiClient) -> anyhow::Result<()> {
    let mut filter = Vec::new();
    if let Some(name) = &options.endpoint {
        filter.push(("endpoint", id_of(client, name).await?.to_string()));
    }
    filter.extend(options.event.as_ref().map(|id| ("event", id.to_string())));
    filter.extend(options.state.map(|state| ("state", state.to_string())));
    options.paging.print(client, "/v1/deliveries", filter, &DELIVERIES.headings(), print).await
}

async fn show(options: &ShowDelivery, client: &ApiClient) -> anyhow::Result<()> {
    let shown: Json = client.get(&format!("/v1/deliveries/{}", options.id), &[], TIMEOUT).await?;
    if options.json {
        return Ok(output::line(&shown.to_string())?);
    }
    let mut fields = shown.as_object().cloned().unwrap_or_default();
    let attempts = fields.remove("attempts").unwrap_or_default();
    print_fields(&fields)?;
    for attempt in attempts.as_array().into_iter().flatten() {
        let [at, elapsed, response] =
            ["at", "elapsed_ms", "response"].map(|name| output::field(&attempt[name]));
        let outcome = if attempt["status"].is_null() { &attempt["error"] } else { &attempt["status"] };
        output::line(&format!("{at}  {:<12}  {elapsed:>6} ms  {response}", output::field(outcome)))?;
    }
    Ok(())
}

/// Sends the same request for each delivery. A refusal does not stop the others; the command fails at the end.
async fn each(options: &Many, global: &Global, what: &str) -> anyhow::Result<()> {
    let client = ApiClient::internal(&options.server, global)?;
    let progress = Progress::of(options.ids.len() as u64);
    let mut refused = 0;
    for id in &options.ids {
        let path = format!("/v1/deliveries/{id}/{what}");
        match client.send::<Box<RawValue>>(Method::POST, &path, &json!({}), TIMEOUT).await {
            Ok(changed) => progress.beside(|| print(&changed, options.json))?,
            Err(error) if error.is_about_one() => {
                refused += 1;
                progress.beside(|| output::remark(&error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        progress.add(1);
    }
    anyhow::ensure!(refused == 0, "{refused} of {} were refused", options.ids.len());
    Ok(())
}

/// A delivery on one line.
fn print(delivery: &RawValue, as_json: bool) -> anyhow::Result<()> {
    let delivery: Json = serde_json::from_str(delivery.get())?;
    if as_json {
        return Ok(output::line(&delivery.to_string())?);
    }
    let [id, state, attempts, next, endpoint, event] =
        ["id", "state", "attempt_count", "next_attempt_at", "endpoint", "event"]
            .map(|name| output::field(&delivery[name]));
    let event = if delivery["replay"] == true { event + "  (replay)" } else { event };
    Ok(output::line(&DELIVERIES.row(&[id, state, attempts, next, endpoint, event]))?)
}

const DELIVERIES: TextTable<6> = TextTable([
    Column::left("DELIVERY", 12),
    Column::left("STATE", 9),
    Column::right("ATTEMPTS", 8),
    Column::left("NEXT", 24),
    Column::left("ENDPOINT", 35),
    Column::last("EVENT"),
]);
