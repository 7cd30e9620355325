//! `endpoint`: manages webhook endpoints, by the internal listener of a running remgate.
//!
//! Secrets come from files, since others on this machine can read a command line; a new one goes to stdout, once.

mod recover;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::client::{ApiClient, LONG_TIMEOUT, ServerOptions, TIMEOUT};
use super::endpoint_name::{ALL, OneEndpoint, found};
use super::options::Global;
use super::output;
use super::process::Usage;
use super::table::{Column, TextTable, print_fields};
use crate::domain::EndpointUrl;
use settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send events to a URL; prints the secret that they are signed with
    Add(AddEndpoint),
    /// List all endpoints
    List(ListEndpoints),
    /// Show one endpoint
    Show(OneEndpoint),
    /// Change an endpoint's settings
    Change(Alter),
    /// Send a signed test request and print the answer
    Test(OneEndpoint),
    /// Enable an endpoint and reset its failures
    Enable(OneEndpoint),
    /// Disable an endpoint; its deliveries wait until it is enabled
    Disable(Disable),
    /// Replace the secret; the present one also signs for 24 hours
    Rotate(Rotate),
    /// Deliver missed events: exhausted deliveries, and events from while it was disabled or did not exist
    Recover(recover::Recover),
    /// Remove an endpoint and cancel its deliveries
    Remove(OneEndpoint),
}

#[derive(Debug, Args)]
pub(super) struct AddEndpoint {
    #[command(flatten)]
    server: ServerOptions,
    /// URL that receives the events
    url: EndpointUrl,
    #[command(flatten)]
    settings: Settings,
    /// Sign with the secret in this file, not with a new one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListEndpoints {
    #[command(flatten)]
    server: ServerOptions,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Alter {
    #[command(flatten)]
    one: OneEndpoint,
    /// URL that receives the events
    #[arg(long)]
    url: Option<EndpointUrl>,
    #[command(flatten)]
    settings: Settings,
    /// Reset this setting to its default, such as schedule or headers; may be given several times
    #[arg(long, value_name = "SETTING")]
    reset: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    one: OneEndpoint,
    /// Reason, shown with the endpoint
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    one: OneEndpoint,
    /// Take the new secret from this file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

pub(super) async fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Add(options) => add(options, &ApiClient::internal(&options.server, global)?).await,
        Command::List(options) => list(options, &ApiClient::internal(&options.server, global)?).await,
        Command::Show(one) => {
            let (client, path) = found(one, global).await?;
            print(&client.get(&path, &[], TIMEOUT).await?, one.json)
        }
        Command::Change(options) => change(options, global).await,
        Command::Test(one) => test(one, global).await,
        Command::Enable(one) => print(&done(one, global, "enable", &json!({})).await?, one.json),
        Command::Disable(Disable { one, reason }) => {
            print(&done(one, global, "disable", &json!({"reason": reason})).await?, one.json)
        }
        Command::Rotate(options) => rotate(options, global).await,
        Command::Recover(options) => recover::run(options, global).await,
        Command::Remove(one) => {
            let (client, path) = found(one, global).await?;
            let Json::Null = client.send(Method::DELETE, &path, &json!({}), TIMEOUT).await? else {
                bail!("the answer says more than that the endpoint is gone")
            };
            output::remark(&format!("{} is removed", one.endpoint));
            Ok(())
        }
    }
}

async fn add(options: &AddEndpoint, client: &ApiClient) -> anyhow::Result<()> {
    let mut body = options.settings.body()?;
    body.insert("url".to_owned(), json!(options.url));
    if let Some(secret) = secret(options.secret_file.as_deref())? {
        body.insert("secret".to_owned(), secret);
    }
    let made: Json = client.send(Method::POST, ALL, &body, TIMEOUT).await?;
    print(&made, options.json)?;
    output::remark("keep the secret now, it is not shown again; its receiver checks signatures with it");
    Ok(())
}

async fn list(options: &ListEndpoints, client: &ApiClient) -> anyhow::Result<()> {
    let page: Json = client.get(ALL, &[], TIMEOUT).await?;
    if !options.json {
        output::line(&ENDPOINTS.headings())?;
    }
    for endpoint in page["data"].as_array().context("the answer holds no list")? {
        let line = if options.json { endpoint.to_string() } else { listed(endpoint) };
        output::line(&line)?;
    }
    Ok(())
}

async fn change(options: &Alter, global: &Global) -> anyhow::Result<()> {
    let mut body = options.settings.body()?;
    if let Some(url) = &options.url {
        body.insert("url".to_owned(), json!(url));
    }
    for name in &options.reset {
        if body.insert(name.replace('-', "_"), Json::Null).is_some() {
            return Err(Usage(format!("{name} is both set and reset")).into());
        }
    }
    if body.is_empty() {
        return Err(Usage("say what is to be different".to_owned()).into());
    }
    let (client, path) = found(&options.one, global).await?;
    print(&client.send(Method::PATCH, &path, &body, TIMEOUT).await?, options.one.json)
}

async fn test(one: &OneEndpoint, global: &Global) -> anyhow::Result<()> {
    let (client, path) = found(one, global).await?;
    let tested: Json = client.send(Method::POST, &format!("{path}/test"), &json!({}), LONG_TIMEOUT).await?;
    print(&tested, one.json)?;
    match (&tested["status"].as_u64(), &tested["error"]) {
        (Some(200..=299), _) => Ok(()),
        (Some(status), _) => bail!("{} does not accept it: it answers {status}", one.endpoint),
        (None, error) => bail!("{} does not answer: {}", one.endpoint, output::field(error)),
    }
}

async fn rotate(options: &Rotate, global: &Global) -> anyhow::Result<()> {
    let body = json!({"secret": secret(options.secret_file.as_deref())?});
    print(&done(&options.one, global, "secret/rotate", &body).await?, options.one.json)?;
    output::remark("keep the secret now, it is not shown again; the one before signs beside it for 24 hours");
    Ok(())
}

/// Sends a request about an endpoint.
async fn done(one: &OneEndpoint, global: &Global, what: &str, body: &Json) -> anyhow::Result<Json> {
    let (client, path) = found(one, global).await?;
    Ok(client.send(Method::POST, &format!("{path}/{what}"), body, TIMEOUT).await?)
}

/// Reads a secret from a file.
fn secret(path: Option<&Path>) -> anyhow::Result<Option<Json>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(Some(json!(text.trim())))
}

/// Prints an object on one line, or a field a line.
fn print(object: &Json, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(output::line(&object.to_string())?);
    }
    let fields: &Map<String, Json> = object.as_object().context("the answer is no object")?;
    print_fields(fields)
}

/// Returns an endpoint as one line of a table, with its URL without the query, which may be a secret.
fn listed(endpoint: &Json) -> String {
    let url = endpoint["url"].as_str().and_then(|url| Url::parse(url).ok()).map(|mut url| {
        url.set_query(None);
        url.to_string()
    });
    let state = if endpoint["enabled"] == true { "enabled" } else { "disabled" };
    let cells = [
        output::field(&endpoint["name"]),
        state.to_owned(),
        output::field(&endpoint["health"]["state"]),
        output::field(&endpoint["id"]),
        output::field(&url.into()),
    ];
    ENDPOINTS.row(&cells)
}

const ENDPOINTS: TextTable<5> = TextTable([
    Column::left("NAME", 24),
    Column::left("STATE", 8),
    Column::left("HEALTH", 9),
    Column::left("ID", 35),
    Column::last("URL"),
]);
