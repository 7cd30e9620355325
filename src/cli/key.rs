//! `key`: manages the API keys of a running remgate, by its internal listener.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::client::{ApiClient, ServerOptions};
use super::options::Global;
use super::output;
use super::table::{Column, TextTable};
use crate::domain::{
    Clock, HumanDuration, KeyId, KeyName, Page, Scope, ServiceName, SystemClock, iso_millis,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a key and print it; it is not shown again
    Add(AddKey),
    /// List keys, the oldest first, without the keys themselves
    List(ListKeys),
    /// Revoke a key at once, on all replicas
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct AddKey {
    #[command(flatten)]
    server: ServerOptions,
    /// Name of the key, for people
    #[arg(required_unless_present = "named")]
    name: Option<KeyName>,
    /// Name of the key, as an option
    #[arg(id = "named", long = "name", value_name = "NAME", conflicts_with = "name")]
    named: Option<KeyName>,
    /// Scope of the key, such as events:read or admin; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<Scope>,
    /// Limit the key to this service
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// Let the key expire after this time, such as 90d
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<HumanDuration>,
    /// Print one JSON object with the key
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListKeys {
    #[command(flatten)]
    server: ServerOptions,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    server: ServerOptions,
    /// The key's id, key_...
    id: KeyId,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Add(options) => add(options, &ApiClient::internal(&options.server, global)?).await,
        Command::List(options) => list(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Revoke(options) => revoke(options, &ApiClient::internal(&options.server, global)?).await,
    }
}

async fn add(options: &AddKey, client: &ApiClient) -> anyhow::Result<()> {
    let expires_at =
        options.expires_in.map(|length| SystemClock.now().checked_add(length.get())).transpose()?;
    let wanted = json!({
        "name": options.name.as_ref().or(options.named.as_ref()),
        "scopes": options.scopes,
        "service": options.service,
        "expires_at": expires_at.map(iso_millis::text),
    });
    let made: Json = client.send(Method::POST, "/v1/keys", &wanted, TIMEOUT).await?;
    if options.json {
        output::line(&made.to_string())?;
    } else {
        output::line(&output::field(&made["key"]))?;
    }
    output::remark(&format!(
        "this is the key {}; it is shown only now. Send it as `Authorization: Bearer <key>`, or keep it in a file for \
         --key-file",
        output::field(&made["id"])
    ));
    if options.scopes.contains(&Scope::Admin) {
        output::remark("the internal listener now requires a key");
    }
    Ok(())
}

async fn list(options: &ListKeys, client: &ApiClient) -> anyhow::Result<()> {
    let page: Page<Json> = client.get("/v1/keys", &[], TIMEOUT).await?;
    if options.json {
        return Ok(page.data.iter().try_for_each(|key| output::line(&key.to_string()))?);
    }
    output::line(&KEYS.headings())?;
    for key in &page.data {
        let scopes: Vec<_> = key["scopes"].as_array().into_iter().flatten().map(output::field).collect();
        let [id, name, service, expires, used] =
            ["id", "name", "service", "expires_at", "last_used_at"].map(|name| output::field(&key[name]));
        output::line(&KEYS.row(&[id, name, service, expires, used, scopes.join(",")]))?;
    }
    Ok(())
}

async fn revoke(options: &Revoke, client: &ApiClient) -> anyhow::Result<()> {
    let path = format!("/v1/keys/{}", options.id);
    let _: Json = client.send(Method::DELETE, &path, &json!({}), TIMEOUT).await?;
    output::remark(&format!("{} is revoked", options.id));
    Ok(())
}

const KEYS: TextTable<6> = TextTable([
    Column::left("ID", 36),
    Column::left("NAME", 20),
    Column::left("SERVICE", 12),
    Column::left("EXPIRES", 24),
    Column::left("LAST USED", 24),
    Column::last("SCOPES"),
]);
