//! `/remauth_callback`: the one thing that RemAuth ever says, and it says it once.
//!
//! Nothing here uses a strict parser: a callback that can be understood is never lost to one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::domain::{CallbackType, Chance, Clock, EventId, EventType, NewEvent, ServiceName, Trust, Uaid};
use crate::http::client_addr::TrustedProxies;
use crate::http::door::Peer;
use crate::http::envelope::Envelope;
use crate::http::gate::Gate;
use crate::intake::Recorder;
use crate::store::Recorded;
use crate::telemetry::Metrics;

/// How large a form body may be, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events one callback may bring. RemAuth brings one.
const MAX_EVENTS: usize = 1000;

/// What the callback needs.
pub struct CallbackState {
    /// Who may come in.
    pub gate: Gate,
    /// Whose request it is.
    pub proxies: TrustedProxies,
    /// Where events become durable.
    pub recorder: Recorder,
    /// When it is.
    pub clock: Arc<dyn Clock>,
    /// What makes ids unique.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Metrics,
}

/// Who called, and how far that can be believed.
struct Caller<'a> {
    service: &'a ServiceName,
    trust: Trust,
    ip: IpAddr,
}

/// Answers a callback, by any method: others than GET and POST are refused here, HEAD among them, which a route for
/// GET would serve and thereby make an event.
pub(crate) async fn callback(
    State(state): State<Arc<CallbackState>>,
    Extension(peer): Extension<Peer>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if method != Method::GET && method != Method::POST {
        return Envelope::wrong_method("GET, POST").into_response();
    }
    let client = state.proxies.client(peer, &headers);
    // A segment that is no text is a token all the same, and not one of ours.
    let segment = path.as_ref().map_or(Some(""), |path| path.iter().next().map(|(_, segment)| segment));
    let mut said = Said::read(segment, uri.query().unwrap_or_default());
    let token = said.token.take().or_else(|| basic_password(&headers));
    let Some((service, trust)) = state.gate.admit(token.as_deref(), client.address()) else {
        state.metrics.callback("", "", "forbidden");
        tracing::info!(source_ip = %client.seen, with_token = token.is_some(), "refused a callback: wrong or missing token, or address not allowed");
        return Envelope::forbidden().into_response();
    };
    if method == Method::POST && is_form(&headers) {
        match read_form(body).await {
            Ok(form) => said.pairs.extend(pairs(&form)),
            Err(refusal) => {
                state.metrics.callback(service.as_str(), "", "invalid");
                return refusal.into_response();
            }
        }
    }
    state.record(&Caller { service, trust, ip: client.seen }, &said.pairs).await.into_response()
}

impl CallbackState {
    async fn record(&self, caller: &Caller<'_>, pairs: &[(String, String)]) -> Envelope {
        let told = match told(pairs) {
            Ok(told) => told,
            Err(name) => {
                self.metrics.callback(caller.service.as_str(), name, "invalid");
                tracing::info!(service = %caller.service, source_ip = %caller.ip, parameter = name, "refused a callback: a parameter is missing or malformed");
                return Envelope::invalid_parameter(name);
            }
        };
        let now = self.clock.now();
        let begun = self.clock.instant();
        let events = told.iter().map(|(callback, uaid)| NewEvent {
            id: EventId::new(now, &self.chance),
            event_type: EventType::from(*callback),
            service: Some(caller.service.clone()),
            uaid: Some(*uaid),
            trust: caller.trust,
            source_ip: Some(caller.ip),
            received_at: now,
            detail: None,
            about: None,
        });
        match self.recorder.record(events.collect()).await {
            Ok(recorded) => {
                self.note(caller, &told, &recorded, begun.elapsed());
                Envelope::stored(recorded.into_iter().map(|it| it.id.to_string()).collect())
            }
            Err(e) => {
                for (callback, _) in &told {
                    self.metrics.callback(caller.service.as_str(), callback.as_str(), "unavailable");
                }
                tracing::debug!(service = %caller.service, error = %e, "could not store a callback; it was told to come back");
                Envelope::unavailable()
            }
        }
    }

    fn note(
        &self,
        caller: &Caller<'_>,
        told: &[(CallbackType, Uaid)],
        recorded: &[Recorded],
        elapsed: Duration,
    ) {
        for ((callback, uaid), recorded) in told.iter().zip(recorded) {
            let outcome = if recorded.new { "stored" } else { "duplicate" };
            self.metrics.callback(caller.service.as_str(), callback.as_str(), outcome);
            tracing::info!(
                event = %recorded.id,
                r#type = %EventType::from(*callback),
                service = %caller.service,
                uaid = uaid.brief(),
                trust = %caller.trust,
                source_ip = %caller.ip,
                duplicate = !recorded.new,
                elapsed_ms = elapsed.as_secs_f64() * 1e3,
                "callback stored"
            );
        }
    }
}

/// What an address says, as far as it can be understood.
struct Said {
    token: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Said {
    /// Reads the path's last segment and the query. Nobody knows how RemAuth joins its parameter to an address that
    /// was registered with a token in it, so the results of joining naively are understood as well:
    /// `/remauth_callback/TOKEN&authenticated=...` and `?token=TOKEN?authenticated=...`.
    fn read(segment: Option<&str>, query: &str) -> Self {
        let (in_path, tail) = match segment.map(|it| it.split_once('&').unwrap_or((it, ""))) {
            Some((token, tail)) => (Some(token.to_owned()), tail),
            None => (None, ""),
        };
        let mut pairs: Vec<_> = pairs(tail).chain(pairs(query)).collect();
        let in_query = pairs.extract_if(.., |(name, _)| name == "token").map(|(_, value)| value).next();
        pairs.retain(|(name, _)| name != "token");
        Self { token: in_path.or(in_query), pairs }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split(['&', '?']).flat_map(|pair| {
        form_urlencoded::parse(pair.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()))
    })
}

/// The events that a callback tells of, each once, or the first parameter that is wrong. None at all is as if the
/// first of RemAuth's parameters were missing.
fn told(pairs: &[(String, String)]) -> Result<Vec<(CallbackType, Uaid)>, &'static str> {
    let mut told = Vec::new();
    for (name, value) in pairs {
        let Ok(callback) = name.parse::<CallbackType>() else { continue };
        let uaid = value.parse().map_err(|_| callback.as_str())?;
        if !told.contains(&(callback, uaid)) {
            told.push((callback, uaid));
        }
        if told.len() > MAX_EVENTS {
            return Err(callback.as_str());
        }
    }
    if told.is_empty() { Err(CallbackType::Authenticated.as_str()) } else { Ok(told) }
}

/// The password of HTTP Basic, whoever the user is said to be.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// A body of another kind, JSON for one, is not read.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_none_or(|kind| {
        kind.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
    })
}

async fn read_form(body: Body) -> Result<String, Envelope> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match whole {
        Ok(Ok(whole)) => Ok(String::from_utf8_lossy(&whole.to_bytes()).into_owned()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Envelope::body_too_large()),
        Ok(Err(_)) => Err(Envelope::invalid_parameter(CallbackType::Authenticated.as_str())),
        Err(_) => Err(Envelope::body_too_slow()),
    }
}
