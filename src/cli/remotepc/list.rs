//! `remotepc list`: the users of the reseller account, as a table, as JSON or as CSV.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value as Json;

use crate::cli::client::{ApiClient, LONG_TIMEOUT, ServerOptions};
use crate::cli::output;
use crate::cli::table::{Column, TextTable};
use crate::domain::Page;

#[derive(Debug, Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    /// Only users whose name contains this text
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// Only users who may sign in, or only the others
    #[arg(long, value_name = "true|false")]
    active: Option<bool>,
    /// Ask RemotePC now instead of using a cached list
    #[arg(long)]
    refresh: bool,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, with a header
    #[arg(long)]
    csv: bool,
}

const PATH: &str = "/v1/remotepc/users";

pub(super) async fn run(options: &Options, client: &ApiClient) -> anyhow::Result<()> {
    let mut query = Vec::new();
    query.extend(options.find.iter().map(|text| ("q", text.clone())));
    query.extend(options.active.map(|active| ("active", active.to_string())));
    if options.refresh {
        query.push(("refresh", "1".to_owned()));
    }
    if options.csv {
        query.push(("format", "csv".to_owned()));
        let table = client.text(PATH, &query, LONG_TIMEOUT).await?;
        return Ok(io::stdout().lock().write_all(&table)?);
    }
    if !options.json {
        output::line(&USERS.headings())?;
    }
    query.push(("limit", "1000".to_owned()));
    let mut after = None;
    loop {
        let mut asked = query.clone();
        asked.extend(after.map(|cursor: crate::domain::Cursor| ("after", cursor.to_string())));
        let page: Page<Json> = client.get(PATH, &asked, LONG_TIMEOUT).await?;
        for user in &page.data {
            let cells = ["username", "active", "allotted_computers", "used_computers", "created_on"];
            let line = if options.json {
                user.to_string()
            } else {
                USERS.row(&cells.map(|name| output::field(&user[name])))
            };
            output::line(&line)?;
        }
        if !page.has_more {
            return Ok(());
        }
        anyhow::ensure!(after != Some(page.cursor), "the server keeps answering with the same page");
        after = Some(page.cursor);
        // All pages have to be of the same list.
        query.retain(|(name, _)| *name != "refresh");
    }
}

const USERS: TextTable<5> = TextTable([
    Column::left("USERNAME", 40),
    Column::left("ACTIVE", 6),
    Column::right("ALLOTTED", 8),
    Column::right("USED", 6),
    Column::last("CREATED"),
]);
