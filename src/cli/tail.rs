//! `event tail`: follows events by long polls, also across restarts of the server. No event is lost or shown twice.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{ApiClient, ApiError, ServerOptions, TIMEOUT};
use super::event_filter::{EventSelection, print};
use super::output;
use crate::domain::{Clock, Cursor, Page, SystemClock};
use crate::lifecycle::StopSignals;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(flatten)]
    filter: EventSelection,
    /// Begin after this cursor, 0 for the oldest event; without it, show new events only
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Time for which the server is asked to hold a request.
const HELD: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn run(options: &Options, client: &ApiClient) -> anyhow::Result<()> {
    let mut signals = StopSignals::watch()?;
    tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        ended = follow(options, client) => ended,
    }
}

async fn follow(options: &Options, client: &ApiClient) -> anyhow::Result<()> {
    let clock = SystemClock;
    let mut after = match options.after {
        Some(after) => after,
        None => newest(client).await?,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = clock.instant();
        match next_page(options, client, after).await {
            Ok(page) => {
                page.data.iter().try_for_each(|event| print(event, options.json))?;
                after = page.cursor;
                // A stopping server answers at once with an empty page.
                if page.data.is_empty() && asked.elapsed() < FIRST_PAUSE {
                    clock.sleep(FIRST_PAUSE).await;
                }
                pause = FIRST_PAUSE;
            }
            Err(error) if error.is_passing() => {
                if pause == FIRST_PAUSE {
                    output::remark(&format!("{error}; trying again"));
                }
                clock.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Cursor of an event.
#[derive(Deserialize)]
struct Placed {
    cursor: Cursor,
}

/// Cursor of the newest event. Later events are new.
async fn newest(client: &ApiClient) -> Result<Cursor, ApiError> {
    let query = [("order", "desc".to_owned()), ("limit", "1".to_owned())];
    let page: Page<Placed> = client.get("/v1/events", &query, TIMEOUT).await?;
    Ok(page.data.first().map_or(page.cursor, |event| event.cursor))
}

async fn next_page(
    options: &Options,
    client: &ApiClient,
    after: Cursor,
) -> Result<Page<Box<RawValue>>, ApiError> {
    let mut query = options.filter.query();
    query.push(("after", after.to_string()));
    query.push(("limit", "1000".to_owned()));
    query.push(("wait", HELD.as_secs().to_string()));
    client.get("/v1/events", &query, HELD + TIMEOUT).await
}
