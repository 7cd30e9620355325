//! Counts every answered request of a listener, and logs the refusals that nothing else logs.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{MatchedPath, Request};
use http::{Response, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::peer::Peer;
use crate::telemetry::{LogLimiter, Metrics};

/// Label of requests to paths without a route.
const OTHER: &str = "other";

/// Layer that counts requests as `remgate_requests_total`.
#[derive(Clone)]
pub struct RequestCounter {
    /// Name of the listener.
    pub listener: &'static str,
    /// Prometheus metrics handle.
    pub metrics: Metrics,
    /// Limits the log lines about refused requests.
    pub refusals: LogLimiter,
    /// True if refused requests are logged here. The handlers of the public listener log them with more details.
    pub logs: bool,
}

/// Service made by [`RequestCounter`].
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    count: RequestCounter,
}

impl<S> Layer<S> for RequestCounter {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner, count: self.clone() }
    }
}

impl<S, B> Service<Request> for Counted<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let peer = request.extensions().get::<Peer>().copied();
        let method = request.method().clone();
        Counting { inner: self.inner.call(request), count: self.count.clone(), route, peer, method }
    }
}

pin_project! {
    /// Future of [`Counted`].
    pub struct Counting<F> {
        #[pin]
        inner: F,
        count: RequestCounter,
        route: Option<MatchedPath>,
        peer: Option<Peer>,
        method: http::Method,
    }
}

impl<F: Future<Output = Result<Response<B>, Infallible>>, B> Future for Counting<F> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let status = response.status();
        let route = this.route.as_ref().map_or(OTHER, MatchedPath::as_str);
        this.count.metrics.request(this.count.listener, route, status);
        if this.count.logs
            && is_refusal(status, this.route.is_some())
            && let Some(suppressed) = this.count.refusals.allow()
        {
            let peer = this.peer.map(|peer| peer.0.ip().to_canonical().to_string());
            tracing::info!(peer, method = %this.method, route, status = status.as_u16(), suppressed, "refused a request");
        }
        Poll::Ready(Ok(response))
    }
}

impl RequestCounter {
    /// For the public listener.
    #[must_use]
    pub fn public(metrics: &Metrics) -> Self {
        Self { listener: "public", metrics: metrics.clone(), refusals: LogLimiter::new(), logs: false }
    }

    /// For the internal listener.
    #[must_use]
    pub fn internal(metrics: &Metrics) -> Self {
        Self { listener: "internal", metrics: metrics.clone(), refusals: LogLimiter::new(), logs: true }
    }

    /// Counts and logs a request whose head could not be parsed. hyper has answered it, if that was possible.
    pub(super) fn unparsable(&self, peer: Peer, error: &hyper::Error) {
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        self.metrics.request(self.listener, OTHER, status);
        if !self.logs {
            self.metrics.callback("", "", "invalid");
        }
        if let Some(suppressed) = self.refusals.allow() {
            let peer = peer.0.ip().to_canonical();
            tracing::info!(listener = self.listener, %peer, status = status.as_u16(), suppressed, "refused a request: its head cannot be parsed");
        }
    }
}

/// Returns whether a status refuses a request for its caller, path or method.
fn is_refusal(status: StatusCode, matched: bool) -> bool {
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::URI_TOO_LONG
        | StatusCode::MISDIRECTED_REQUEST
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => true,
        StatusCode::NOT_FOUND => !matched,
        _ => false,
    }
}
