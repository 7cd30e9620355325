//! Printing of paged lists.

use clap::{Args, ValueEnum};
use serde_json::value::RawValue;

use super::client::{ApiClient, TIMEOUT};
use super::output;
use super::process::Usage;
use crate::domain::{Cursor, Limit, Page};

/// Part of a list to print, and its format.
#[derive(Debug, Args)]
pub(super) struct PagingOptions {
    /// Only those after this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with = "before")]
    after: Option<Cursor>,
    /// Only those before this cursor, with --order desc
    #[arg(long, value_name = "CURSOR")]
    before: Option<Cursor>,
    /// Maximum number of items, 1 to 1000; with --all the size of a page
    #[arg(long, value_name = "NUMBER")]
    limit: Option<Limit>,
    /// Oldest or newest first
    #[arg(long, value_enum, default_value_t = ListOrder::Asc)]
    order: ListOrder,
    /// Every page, not only the first
    #[arg(long)]
    all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListOrder {
    /// Oldest first
    Asc,
    /// Newest first
    Desc,
}

impl PagingOptions {
    /// Prints the list at `path`. `row` prints an item; its second argument is true for JSON.
    pub(super) async fn print(
        &self,
        client: &ApiClient,
        path: &str,
        filter: Vec<(&'static str, String)>,
        heads: &str,
        row: impl Fn(&RawValue, bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (place, mut from) = self.start()?;
        let fixed = self.query(filter);
        let mut heads = (!self.json).then_some(heads);
        loop {
            let mut query = fixed.clone();
            query.extend(from.map(|cursor| (place, cursor.to_string())));
            let page: Page<Box<RawValue>> = client.get(path, &query, TIMEOUT).await?;
            heads.take().map_or(Ok(()), output::line)?;
            page.data.iter().try_for_each(|item| row(item, self.json))?;
            if !page.has_more {
                return Ok(());
            }
            if !self.all {
                output::remark(&format!("there are more: --{place} {}, or --all", page.cursor));
                return Ok(());
            }
            anyhow::ensure!(from != Some(page.cursor), "the server keeps answering with the same page");
            from = Some(page.cursor);
        }
    }

    /// Returns name and value of the query parameter for the start.
    fn start(&self) -> Result<(&'static str, Option<Cursor>), Usage> {
        match (self.order, self.after, self.before) {
            (ListOrder::Asc, after, None) => Ok(("after", after)),
            (ListOrder::Desc, None, before) => Ok(("before", before)),
            (ListOrder::Asc, _, Some(_)) => Err(Usage("--before goes with --order desc".to_owned())),
            (ListOrder::Desc, Some(_), _) => Err(Usage("--after goes with --order asc".to_owned())),
        }
    }

    fn query(&self, filter: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let mut query = filter;
        query.extend(self.limit.map(|limit| ("limit", limit.get().to_string())));
        if self.order == ListOrder::Desc {
            query.push(("order", "desc".to_owned()));
        }
        if self.all && self.limit.is_none() {
            query.push(("limit", "1000".to_owned()));
        }
        query
    }
}
