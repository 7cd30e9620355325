//! `endpoint recover`: delivers events that an endpoint has missed.

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::cli::client::{ApiClient, LONG_TIMEOUT};
use crate::cli::endpoint_name::{OneEndpoint, found};
use crate::cli::options::Global;
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::cli::time::moment;
use crate::domain::{Clock, SystemClock};

#[derive(Debug, Args)]
pub(in crate::cli) struct Recover {
    #[command(flatten)]
    one: OneEndpoint,
    /// Events received then or later: a time such as 2026-11-22T21:04:05Z, or so long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Timestamp,
    /// Events received before then; now unless it is given
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only count what would be delivered
    #[arg(long)]
    dry_run: bool,
}

/// Approximate number of deliveries that one request creates.
const BATCH_SIZE: u64 = 2000;

/// Maximum number of parts of a window: the events of a long window may all be in a short part of it.
const MOST_PARTS: u64 = 200;

pub(super) async fn run(options: &Recover, global: &Global) -> anyhow::Result<()> {
    let until = options.until.unwrap_or_else(|| SystemClock.now());
    let (client, path) = found(&options.one, global).await?;
    let path = format!("{path}/recover");
    let expected = ask(&client, &path, options.since, until, true).await?;
    if options.dry_run {
        return say(options, expected, true);
    }
    let progress = Progress::of(expected);
    let mut count = 0;
    for (since, until) in parts(options.since, until, (expected / BATCH_SIZE + 1).min(MOST_PARTS)) {
        let made = ask(&client, &path, since, until, false).await?;
        progress.add(made);
        count += made;
    }
    drop(progress);
    say(options, count, false)
}

/// Cuts a window into parts of equal length without gaps.
fn parts(since: Timestamp, until: Timestamp, count: u64) -> Vec<(Timestamp, Timestamp)> {
    let length = until.duration_since(since);
    let count = i32::try_from(count).unwrap_or(1).max(1);
    let step = length / count;
    let at = |number: i32| match number {
        _ if number == count => until,
        _ => since.checked_add(step * number).unwrap_or(until),
    };
    let parts = (0..count).map(|number| (at(number), at(number + 1)));
    // A window with fewer nanoseconds than parts has empty ones.
    parts.filter(|(since, until)| until.duration_since(*since) > SignedDuration::ZERO).collect()
}

async fn ask(
    client: &ApiClient,
    path: &str,
    since: Timestamp,
    until: Timestamp,
    dry_run: bool,
) -> anyhow::Result<u64> {
    let body = json!({"since": since, "until": until, "dry_run": dry_run});
    let answer: Json = client.send(Method::POST, path, &body, LONG_TIMEOUT).await?;
    answer["count"].as_u64().context("the answer holds no count")
}

fn say(options: &Recover, count: u64, dry_run: bool) -> anyhow::Result<()> {
    if options.one.json {
        return Ok(output::line(&json!({"count": count, "dry_run": dry_run}).to_string())?);
    }
    let said = if dry_run { "would be delivered" } else { "will be delivered" };
    Ok(output::line(&format!("{count} {said}"))?)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::parts;

    proptest! {
        #[test]
        fn parts_cover_the_window_without_a_gap(seconds in 0..10_000_000_i64, length in 1..1_000_000_000_i64, count in 1..200_u64) {
            let since = Timestamp::from_second(seconds).unwrap();
            let until = since.checked_add(SignedDuration::from_micros(length)).unwrap();
            let parts = parts(since, until, count);
            prop_assert_eq!((parts[0].0, parts[parts.len() - 1].1), (since, until));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].0 < pair[0].1));
        }
    }
}
