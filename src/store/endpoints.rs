//! Endpoints: declarations of the configuration, and conversion of rows.

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;

use super::backend::{Backend, Statement, bind, statement, with_deadline, within};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::endpoints::{CANCEL_ORPHANS, DECLARE, ENDPOINTS};
use super::{Declaration, EndpointStore, StoreError};
use crate::domain::{
    Endpoint, EndpointId, EndpointSettings, Headers, Health, HumanDuration, MaxInFlight, PreviousSecret,
    Sending,
};

/// Reason of an endpoint whose declaration is gone. It is enabled again when the declaration returns.
const UNDECLARED: &str = "no longer declared in the configuration";

#[async_trait]
impl<B: Backend> EndpointStore for SqlStore<B> {
    async fn declare(&self, declared: &[Declaration], now: Timestamp) -> Result<(), StoreError> {
        within(B::BACKGROUND_TIMEOUT, "store the declared endpoints", async {
            let mut tx = self.db.rest.begin().await?;
            for Declaration { id, settings: declared_settings } in declared {
                let upsert = settings(statement!(B, DECLARE, id.to_string()), declared_settings);
                let upsert = bind!(B, upsert, now.as_millisecond(), UNDECLARED.to_owned());
                B::run(tx.connection(), upsert).await?;
            }
            let names: Vec<_> = declared.iter().map(|declaration| &declaration.settings.name).collect();
            let gone = statement!(
                B,
                B::DIALECT.endpoints.undeclare,
                json!(names).to_string(),
                UNDECLARED.to_owned()
            );
            B::run(tx.connection(), gone).await?;
            B::run(tx.connection(), statement!(B, CANCEL_ORPHANS, now.as_millisecond())).await?;
            tx.commit().await
        })
        .await
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        with_deadline("read endpoints", async {
            self.read(|| statement!(B, ENDPOINTS)).await?.iter().map(endpoint::<B>).collect()
        })
        .await
    }

    async fn endpoints_named(&self, ids: &[EndpointId]) -> Result<Vec<Endpoint>, StoreError> {
        with_deadline("read endpoints", async {
            let ids = json!(ids).to_string();
            self.read_for_dispatch(|| statement!(B, B::DIALECT.endpoints.endpoints_named, ids.clone()))
                .await?
                .iter()
                .map(endpoint::<B>)
                .collect()
        })
        .await
    }
}

/// Binds all settings of an endpoint, in the order of [`settings_columns!`].
///
/// [`settings_columns!`]: super::statements::endpoints
pub(super) fn settings<B: Backend>(query: Statement<B>, endpoint: &EndpointSettings) -> Statement<B> {
    let sending = &endpoint.sending;
    bind!(
        B,
        query,
        endpoint.name.to_string(),
        String::from(endpoint.url.clone()),
        endpoint.secret.reveal().expose_secret().to_owned(),
        json!(endpoint.types).to_string(),
        json!(endpoint.services).to_string(),
        endpoint.format.as_str().to_owned(),
        endpoint.expected_only,
        sending.headers.reveal().expose_secret().to_owned(),
        sending.schedule.as_ref().map(|schedule| json!(schedule).to_string()),
        sending.timeout.map(|timeout| HumanDuration::from(timeout).to_string()),
        sending.max_in_flight.map(|number| i64::from(u32::from(number))),
        sending.rate_limit.map(|rate| rate.to_string()),
        sending.signing_key.as_ref().map(|key| key.reveal().expose_secret().to_owned()),
    )
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
        sending: sending::<B>(row)?,
    };
    Ok(Endpoint {
        id: parsed("id", text("id")?)?,
        settings,
        previous_secret: previous_secret::<B>(row)?,
        health: health::<B>(row)?,
        enabled: column::<B, _>(row, "enabled")?,
        disabled_reason: column::<B, _>(row, "disabled_reason")?,
        declared: column::<B, _>(row, "declared")?,
        undeclared: column::<B, _>(row, "undeclared")?,
        created_at: time("created_at", column::<B, _>(row, "created_at")?)?,
    })
}

fn sending<B: Backend>(row: &B::Row) -> Result<Sending, sqlx::Error> {
    let text = |name: &'static str| column::<B, Option<String>>(row, name);
    let headers: String = column::<B, _>(row, "headers")?;
    let timeout = text("timeout")?.map(|text| parsed::<HumanDuration>("timeout", text)).transpose()?;
    let max_in_flight: Option<i64> = column::<B, _>(row, "max_in_flight")?;
    let schedule = text("schedule")?.map(|text| serde_json::from_str(&text)).transpose();
    let signing_key = text("signing_key")?.map(|text| text.parse()).transpose();
    Ok(Sending {
        headers: Headers::from_revealed(&headers).map_err(|e| undecodable("headers", e))?,
        schedule: schedule.map_err(|e| undecodable("schedule", e))?,
        timeout: timeout.map(TryInto::try_into).transpose().map_err(|e| undecodable("timeout", e))?,
        max_in_flight: max_in_flight.map(in_flight).transpose()?,
        rate_limit: text("rate_limit")?.map(|text| parsed("rate_limit", text)).transpose()?,
        signing_key: signing_key.map_err(|e| undecodable("signing_key", e))?,
    })
}

fn in_flight(number: i64) -> Result<MaxInFlight, sqlx::Error> {
    u32::try_from(number).unwrap_or_default().try_into().map_err(|e| undecodable("max_in_flight", e))
}

fn previous_secret<B: Backend>(row: &B::Row) -> Result<Option<PreviousSecret>, sqlx::Error> {
    let secret: Option<String> = column::<B, _>(row, "previous_secret")?;
    let until: Option<i64> = column::<B, _>(row, "previous_secret_until")?;
    let (Some(secret), Some(until)) = (secret, until) else { return Ok(None) };
    Ok(Some(PreviousSecret {
        secret: secret.parse().map_err(|e| undecodable("previous_secret", e))?,
        until: time("previous_secret_until", until)?,
    }))
}

fn health<B: Backend>(row: &B::Row) -> Result<Health, sqlx::Error> {
    let moment = |name: &'static str| {
        column::<B, Option<i64>>(row, name)?.map(|millis| time(name, millis)).transpose()
    };
    let failures: i64 = column::<B, _>(row, "failures")?;
    Ok(Health {
        failures: u64::try_from(failures).unwrap_or_default(),
        failing_since: moment("failing_since")?,
        last_failure_at: moment("last_failure_at")?,
        probe_at: moment("probe_at")?,
    })
}
