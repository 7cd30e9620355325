//! Endpoints: those that the configuration declares, and how a row becomes one.

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;

use super::backend::{Backend, statement, within};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::{DECLARE, ENDPOINTS};
use super::{Declaration, EndpointStore, StoreError};
use crate::domain::{Endpoint, EndpointId, EndpointSettings};

/// Why an endpoint is disabled whose declaration is gone; when it comes back it is enabled again.
const UNDECLARED: &str = "no longer declared in the configuration";

#[async_trait]
impl<B: Backend> EndpointStore for SqlStore<B> {
    async fn declare(&self, declared: &[Declaration], now: Timestamp) -> Result<(), StoreError> {
        within("store the declared endpoints", async {
            let mut tx = self.at.rest.begin(B::BEGIN).await?;
            for Declaration { id, settings: it } in declared {
                let upsert = statement!(
                    B,
                    DECLARE,
                    id.to_string(),
                    it.name.to_string(),
                    String::from(it.url.clone()),
                    it.secret.reveal().expose_secret().to_owned(),
                    json!(it.types).to_string(),
                    json!(it.services).to_string(),
                    it.format.as_str().to_owned(),
                    it.expected_only,
                    now.as_millisecond(),
                    UNDECLARED.to_owned(),
                );
                B::run(tx.connection(), upsert).await?;
            }
            let names: Vec<_> = declared.iter().map(|it| &it.settings.name).collect();
            let gone = statement!(B, B::DIALECT.undeclare, json!(names).to_string(), UNDECLARED.to_owned());
            B::run(tx.connection(), gone).await?;
            tx.commit().await
        })
        .await
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        within("read endpoints", async {
            self.read(|| statement!(B, ENDPOINTS)).await?.iter().map(endpoint::<B>).collect()
        })
        .await
    }

    async fn endpoints_named(&self, ids: &[EndpointId]) -> Result<Vec<Endpoint>, StoreError> {
        within("read endpoints", async {
            let ids = json!(ids).to_string();
            self.look(|| statement!(B, B::DIALECT.endpoints_named, ids.clone()))
                .await?
                .iter()
                .map(endpoint::<B>)
                .collect()
        })
        .await
    }
}

/// Reads a row of `endpoints`.
pub(super) fn endpoint<B: Backend>(row: &B::Row) -> Result<Endpoint, sqlx::Error> {
    let text = |name: &'static str| column::<B, String>(row, name);
    let settings = EndpointSettings {
        name: parsed("name", text("name")?)?,
        url: parsed("url", text("url")?)?,
        secret: text("secret")?.parse().map_err(|e| undecodable("secret", e))?,
        types: serde_json::from_str(&text("types")?).map_err(|e| undecodable("types", e))?,
        services: serde_json::from_str(&text("services")?).map_err(|e| undecodable("services", e))?,
        format: parsed("format", text("format")?)?,
        expected_only: column::<B, _>(row, "expected_only")?,
    };
    Ok(Endpoint {
        id: parsed("id", text("id")?)?,
        settings,
        enabled: column::<B, _>(row, "enabled")?,
        disabled_reason: column::<B, _>(row, "disabled_reason")?,
        declared: column::<B, _>(row, "declared")?,
        created_at: time("created_at", column::<B, _>(row, "created_at")?)?,
    })
}
