//! Endpoints on the command line: by name or by id.

use anyhow::Context;
use clap::Args;
use serde_json::Value as Json;

use super::client::{ApiClient, ServerOptions, TIMEOUT};
use super::options::Global;
use crate::domain::{EndpointId, EndpointName};

/// Path of all endpoints.
pub(super) const ALL: &str = "/v1/endpoints";

#[derive(Debug, Args)]
pub(super) struct OneEndpoint {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    /// Its name, or its id, ep_...
    pub(super) endpoint: EndpointName,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Returns a client, and the path of the endpoint.
pub(super) async fn found(one: &OneEndpoint, global: &Global) -> anyhow::Result<(ApiClient, String)> {
    let client = ApiClient::internal(&one.server, global)?;
    let id = id_of(&client, &one.endpoint).await?;
    Ok((client, format!("{ALL}/{id}")))
}

/// Returns the id of an endpoint by its name or id.
pub(super) async fn id_of(client: &ApiClient, name: &EndpointName) -> anyhow::Result<EndpointId> {
    let name = name.as_str();
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let page: Json = client.get(ALL, &[], TIMEOUT).await?;
    let all = page["data"].as_array().context("the answer holds no list")?;
    let id =
        all.iter().find(|endpoint| endpoint["name"] == name).and_then(|endpoint| endpoint["id"].as_str());
    let id =
        id.with_context(|| format!("there is no endpoint named {name}; `remgate endpoint list` shows all"))?;
    // The id becomes part of a path.
    id.parse().context("the answer holds an id that is none")
}
