//! `/v1/keys`: API keys. A key is shown once, when it is created, and never stored.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::context::Context;
use crate::domain::{
    AdminKeys, ApiKey, Cursor, Grant, KeyDigest, KeyId, KeyName, Page, Scope, ServiceName, iso_millis,
    new_key,
};
use crate::http::auth::Caller;
use crate::http::extract::{Json, NoParams, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, json, with_json};
use crate::store::{LastAdminKey, Removal};

/// State of the routes about keys.
pub struct KeysState {
    /// Shared handles.
    pub context: Context,
    /// Services that a key may be limited to.
    pub services: Vec<ServiceName>,
    /// Effect of revoking the last stored admin key.
    pub last: LastAdminKey,
}

/// Body of a request for a new key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewKey {
    name: KeyName,
    scopes: Vec<Scope>,
    #[serde(default)]
    service: Option<ServiceName>,
    #[serde(default, deserialize_with = "moment")]
    expires_at: Option<Timestamp>,
}

/// Reads a time or null. The error does not repeat the value.
fn moment<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(value)?;
    let moment = text.map(|text| text.parse()).transpose();
    moment.map_err(|_| D::Error::custom("`expires_at` is a time such as 2027-01-31T12:00:00Z, or null"))
}

/// Key as it is shown.
#[derive(Serialize)]
struct KeyView<'a> {
    id: KeyId,
    name: KeyName,
    scopes: Vec<Scope>,
    service: Option<ServiceName>,
    expires_at: Option<String>,
    created_at: String,
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> KeyView<'a> {
    fn of(key: ApiKey, secret: Option<&'a SecretString>) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.grant.scopes().to_vec(),
            service: key.grant.service().cloned(),
            expires_at: key.expires_at.map(iso_millis::text),
            created_at: iso_millis::text(key.created_at),
            last_used_at: key.last_used_at.map(iso_millis::text),
            key: secret.map(ExposeSecret::expose_secret),
        }
    }
}

impl KeysState {
    fn key(&self, new: NewKey) -> Result<ApiKey, Problem> {
        let now = self.context.clock.now();
        let known = |service: &ServiceName| self.services.contains(service);
        if !new.service.as_ref().is_none_or(known) {
            let all: Vec<_> = self.services.iter().map(ServiceName::as_str).collect();
            return Err(Problem::unprocessable(format!(
                "there is no such service; the services are {}",
                all.join(", ")
            )));
        }
        // Stored with milliseconds.
        let whole = |end: Timestamp| Timestamp::from_millisecond(end.as_millisecond()).unwrap_or(end);
        let expires_at = new.expires_at.map(whole);
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Problem::unprocessable("expires_at has passed already; it has to be in the future"));
        }
        Ok(ApiKey {
            id: KeyId::new(now, &self.context.rng),
            name: new.name,
            grant: Grant::new(&new.scopes, new.service).map_err(|e| Problem::unprocessable(e.to_string()))?,
            expires_at,
            created_at: now,
            last_used_at: None,
        })
    }
}

/// `GET /v1/keys`
pub(in crate::http) async fn list(
    State(state): State<Arc<KeysState>>,
    _: NoParams,
) -> Result<Response, Problem> {
    let data: Vec<_> =
        state.context.store.keys().await?.into_iter().map(|key| KeyView::of(key, None)).collect();
    Ok(json(&Page { data, cursor: Cursor::default(), has_more: false }))
}

/// `POST /v1/keys`
pub(in crate::http) async fn add(
    State(state): State<Arc<KeysState>>,
    caller: Caller,
    Json(new): Json<NewKey>,
) -> Result<Response, Problem> {
    let key = state.key(new)?;
    let secret = new_key(&state.context.rng);
    state.context.store.add_key(&key, &KeyDigest::of(secret.expose_secret())).await?;
    tracing::info!(key = %key.id, by = caller.id(), "created an API key");
    Ok(with_json(StatusCode::CREATED, "application/json", &KeyView::of(key, Some(&secret))))
}

/// `GET /v1/keys/{id}`
pub(in crate::http) async fn show(
    State(state): State<Arc<KeysState>>,
    Path(id): Path<KeyId>,
    _: NoParams,
) -> Result<Response, Problem> {
    let key = state.context.store.key(&id).await?.ok_or_else(|| unknown(&id))?;
    Ok(json(&KeyView::of(key, None)))
}

/// `DELETE /v1/keys/{id}`
pub(in crate::http) async fn revoke(
    State(state): State<Arc<KeysState>>,
    caller: Caller,
    Path(id): Path<KeyId>,
) -> Result<Response, Problem> {
    match state.context.store.remove_key(&id, state.context.clock.now(), state.last).await? {
        Removal::Done { last_admin } => {
            tracing::info!(key = %id, by = caller.id(), "revoked an API key");
            if last_admin && state.last == LastAdminKey::Opens {
                tracing::warn!("that was the last admin key: the internal listener is open to this machine");
            }
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Removal::Unknown => Err(unknown(&id)),
        Removal::LastAdminKey(AdminKeys::Expired) => Err(Problem::conflict(
            "all other admin keys have expired, so no key would be accepted any more; make another admin key first, or \
             remove the expired ones, or set internal.admin_key",
        )),
        Removal::LastAdminKey(_) => Err(Problem::conflict(
            "this is the last admin key, and the internal listener is not on a loopback address; make another admin key \
             first, or set internal.admin_key",
        )),
    }
}

fn unknown(id: &KeyId) -> Problem {
    Problem::not_found(format!("there is no key {id}"))
}
