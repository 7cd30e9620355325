//! `/remauth_callback`: RemAuth's request, which it sends once.
//!
//! No strict parser is used, so that a callback that can be understood is never lost. A request of an authenticated sender that
//! cannot be understood is stored as a rejected callback. Every refusal is logged and counted.

mod redact;
mod request;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::context::Context;
use crate::domain::{CallbackType, EventId, EventType, NewEvent, RejectedCallback, RejectedId, Uaid};
use crate::http::callback_auth::{Admission, CallbackAuth};
use crate::http::client_addr::{ClientAddress, TrustedProxies};
use crate::http::envelope::Envelope;
use crate::http::peer::Peer;
use crate::intake::Recorder;
use crate::store::Recorded;
use crate::telemetry::{LogLimiter, millis};
use request::CallbackRequest;

/// Maximum size of a form body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Time limit for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the stored request of a rejected callback in bytes.
const MAX_KEPT: usize = 16 * 1024;

/// State of the callback route.
pub struct CallbackState {
    /// Shared handles.
    pub context: Context,
    /// Authentication of senders.
    pub gate: CallbackAuth,
    /// Proxies whose headers about the client's address are used.
    pub proxies: TrustedProxies,
    /// Stores events.
    pub recorder: Recorder,
    /// Limits the log lines about requests that are refused.
    pub refusals: LogLimiter,
}

/// An admitted sender.
struct Source<'a> {
    admission: Admission<'a>,
    ip: IpAddr,
}

/// Request that is being read.
struct Incoming<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: Option<Body>,
    /// The body as text, as far as it was read.
    text: String,
}

/// Answers a request to the callback's path, by any method: others than GET and POST are refused here, HEAD among them,
/// which a route for GET would serve and thereby make an event.
pub(crate) async fn callback(
    State(state): State<Arc<CallbackState>>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = CallbackRequest::read(uri.path(), uri.query().unwrap_or_default());
    let client = state.proxies.client(peer, &headers);
    let incoming =
        Incoming { method: &method, uri: &uri, headers: &headers, body: Some(body), text: String::new() };
    if request.is_callback {
        state.answer(client, request, incoming).await.into_response()
    } else {
        state.not_found(client, request, incoming).await.into_response()
    }
}

impl CallbackState {
    async fn answer(
        &self,
        client: ClientAddress,
        mut request: CallbackRequest,
        mut incoming: Incoming<'_>,
    ) -> Envelope {
        if incoming.method != Method::GET && incoming.method != Method::POST {
            self.refused(client, "", "method", &incoming, "refused a callback: wrong HTTP method");
            return Envelope::wrong_method("GET, POST");
        }
        let token = request.tokens.first().cloned().or_else(|| basic_password(incoming.headers));
        let Some(admission) = self.gate.admit(token.as_deref(), client.address()) else {
            self.context.metrics.callback("", "", "forbidden");
            if let Some(suppressed) = self.refusals.allow() {
                tracing::info!(source_ip = %client.seen, with_token = token.is_some(), suppressed, "refused a callback: wrong or missing token, or address not allowed");
            }
            return Envelope::forbidden();
        };
        let source = Source { admission, ip: client.seen };
        if incoming.method == Method::POST && is_form(incoming.headers) {
            if let Err(refusal) = incoming.read_body().await {
                self.context.metrics.callback(source.admission.service.as_str(), "", "invalid");
                self.reject(&source, "body", &mut incoming).await;
                return refusal;
            }
            request.add_form(&incoming.text);
        }
        match request.events() {
            Ok(events) => self.record(&source, &events).await,
            Err(name) => {
                self.context.metrics.callback(source.admission.service.as_str(), name, "invalid");
                self.reject(&source, name, &mut incoming).await;
                Envelope::invalid_parameter(name)
            }
        }
    }

    /// Answers a request to a path without a route. With a valid token it is a misdirected callback.
    async fn not_found(
        &self,
        client: ClientAddress,
        request: CallbackRequest,
        mut incoming: Incoming<'_>,
    ) -> Envelope {
        let basic = basic_password(incoming.headers);
        let admission = request
            .tokens
            .iter()
            .chain(&basic)
            .find_map(|token| self.gate.admit(Some(token), client.address()));
        if let Some(admission) = admission {
            let source = Source { admission, ip: client.seen };
            self.context.metrics.callback(source.admission.service.as_str(), "", "not_found");
            self.reject(&source, "path", &mut incoming).await;
        } else {
            self.refused(
                client,
                "",
                "not_found",
                &incoming,
                "refused a request: nothing is served at this path",
            );
        }
        Envelope::not_found()
    }

    fn refused(
        &self,
        client: ClientAddress,
        service: &str,
        outcome: &'static str,
        incoming: &Incoming<'_>,
        message: &str,
    ) {
        self.context.metrics.callback(service, "", outcome);
        if let Some(suppressed) = self.refusals.allow() {
            let path = redact::path(incoming.uri.path());
            tracing::info!(source_ip = %client.seen, method = %incoming.method, path, suppressed, "{message}");
        }
    }

    /// Stores a request that could not be understood.
    async fn reject(&self, source: &Source<'_>, reason: &str, incoming: &mut Incoming<'_>) {
        // A body that is too large or did not arrive whole is left out; path and query are kept.
        let _ = incoming.read_body().await;
        let now = self.context.clock.now();
        let rejected = RejectedCallback {
            id: RejectedId::new(now, &self.context.rng),
            service: source.admission.service.clone(),
            trust: source.admission.trust,
            source_ip: Some(source.ip),
            received_at: now,
            reason: reason.to_owned(),
            request: redact::request(&self.gate, incoming.method, incoming.uri, &incoming.text, MAX_KEPT),
        };
        let kept = self.context.store.keep_rejected(&rejected).await;
        if let Err(e) = &kept {
            tracing::warn!(error = %e, "failed to keep a rejected callback");
        }
        if let Some(suppressed) = self.refusals.allow() {
            tracing::info!(
                rejected = kept.is_ok().then(|| rejected.id.to_string()),
                service = %source.admission.service,
                source_ip = %source.ip,
                token = source.admission.token,
                parameter = reason,
                suppressed,
                "refused a callback: a parameter is missing or malformed, or path or body are wrong"
            );
        }
    }

    async fn record(&self, source: &Source<'_>, named: &[(CallbackType, Uaid)]) -> Envelope {
        let Source { admission, ip } = source;
        let now = self.context.clock.now();
        let begun = self.context.clock.instant();
        let events = named.iter().map(|(callback, uaid)| NewEvent {
            id: EventId::new(now, &self.context.rng),
            event_type: EventType::from(*callback),
            service: Some(admission.service.clone()),
            uaid: Some(*uaid),
            trust: admission.trust,
            source_ip: Some(*ip),
            received_at: now,
            detail: None,
            about: None,
        });
        match self.recorder.record(events.collect()).await {
            Ok(recorded) => {
                self.note(source, named, &recorded, begun.elapsed());
                Envelope::stored(recorded.into_iter().map(|recorded| recorded.id.to_string()).collect())
            }
            Err(e) => {
                for (callback, _) in named {
                    self.context.metrics.callback(
                        admission.service.as_str(),
                        callback.as_str(),
                        "unavailable",
                    );
                }
                if let Some(suppressed) = self.refusals.allow() {
                    tracing::warn!(service = %admission.service, error = %e, suppressed, "failed to store a callback; answered 503");
                }
                Envelope::unavailable()
            }
        }
    }

    fn note(
        &self,
        source: &Source<'_>,
        named: &[(CallbackType, Uaid)],
        recorded: &[Recorded],
        elapsed: Duration,
    ) {
        let Source { admission, ip } = source;
        if let Some(token) = admission.token {
            self.context.metrics.callback_token(admission.service.as_str(), token);
        }
        for ((callback, uaid), recorded) in named.iter().zip(recorded) {
            let outcome = if recorded.new { "stored" } else { "duplicate" };
            self.context.metrics.callback(admission.service.as_str(), callback.as_str(), outcome);
            tracing::info!(
                event = %recorded.id,
                r#type = %EventType::from(*callback),
                service = %admission.service,
                uaid = uaid.brief(),
                trust = %admission.trust,
                source_ip = %ip,
                token = admission.token,
                duplicate = !recorded.new,
                elapsed_ms = millis(elapsed),
                "{}",
                if recorded.new { "callback stored" } else { "callback seen before" }
            );
        }
    }
}

impl Incoming<'_> {
    /// Reads the body, once.
    async fn read_body(&mut self) -> Result<(), Envelope> {
        let Some(body) = self.body.take() else { return Ok(()) };
        self.text = read_body(body).await?;
        Ok(())
    }
}

/// Returns the password of HTTP Basic; the user name is ignored.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Reads a form body. A body of another type is not read.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_none_or(|kind| {
        kind.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
    })
}

async fn read_body(body: Body) -> Result<String, Envelope> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match whole {
        Ok(Ok(whole)) => Ok(String::from_utf8_lossy(&whole.to_bytes()).into_owned()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Envelope::body_too_large()),
        Ok(Err(_)) => Err(Envelope::invalid_parameter(CallbackType::Authenticated.as_str())),
        Err(_) => Err(Envelope::body_too_slow()),
    }
}
