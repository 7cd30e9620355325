//! Layers around every route of a listener: request id, span, limits, and an answer after a panic.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::HeaderValue;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::{MakeSpan, TraceLayer};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tracing::Span;
use tracing::field::Empty;

use super::count::RequestCounter;
use crate::domain::{Clock, RandomSource};

/// Maximum length of path and query in bytes.
const MAX_URI: usize = 8 * 1024;

/// Maximum size of a request's head, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Maximum number of header lines of a request.
pub(super) const MAX_HEADERS: usize = 64;

pub(super) const URI_LIMIT_TEXT: &str = "path and query may be 8 KiB long";

/// Form of the answers of a listener for requests without a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusals {
    /// Answer to a request with two `Host` lines.
    pub(super) two_hosts: fn(&Request) -> Response,
    /// Answer to a request whose path and query are too long.
    pub(super) uri_too_long: fn(&Request) -> Response,
    /// Answer to a request whose head is too large.
    pub(super) head_too_large: fn(&Request) -> Response,
    /// A handler panicked.
    pub(super) panicked: fn() -> Response,
}

/// Adds the layers to the routes of a listener. `brought` handles the request id that a caller sends, and runs first. The layers are one
/// tuple, because the router makes a box for each layer, and waiting requests hold them all.
#[expect(clippy::result_large_err, reason = "the layer takes the answer itself")]
pub(super) fn around(
    router: Router,
    name: &'static str,
    refusals: Refusals,
    ids: RequestIds,
    brought: fn(Request) -> Request,
    count: RequestCounter,
) -> Router {
    let panicked = refusals.panicked;
    let catch = CatchPanicLayer::custom(move |_: Box<dyn std::any::Any + Send>| panicked().map(Body::new));
    router.layer((
        MapRequestLayer::new(brought),
        SetRequestIdLayer::x_request_id(ids),
        PropagateRequestIdLayer::x_request_id(),
        count,
        TraceLayer::new_for_http().make_span_with(Spans(name)).on_request(()).on_failure(()),
        catch,
        ValidateRequestHeaderLayer::custom(move |request: &mut Request| check(request, refusals)),
    ))
}

/// Refuses a request that no route may see. RFC 9112 asks for 400 when there are two `Host` lines.
#[expect(clippy::result_large_err, reason = "the layer takes the answer itself")]
fn check(request: &Request, refusals: Refusals) -> Result<(), Response> {
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let hosts = request.headers().get_all(http::header::HOST).iter().count();
    if hosts > 1 {
        Err((refusals.two_hosts)(request))
    } else if is_head_too_large(request, length) {
        Err((refusals.head_too_large)(request))
    } else if length > MAX_URI {
        Err((refusals.uri_too_long)(request))
    } else {
        Ok(())
    }
}

/// Returns whether a head is larger than 16 KiB or has more than 64 header lines. hyper reads a little more than that, so that
/// the answer has the form of the path.
fn is_head_too_large(request: &Request, length: usize) -> bool {
    let lines = request.headers();
    let size: usize = lines.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    lines.len() > MAX_HEADERS || size + length > MAX_HEAD
}

/// Makes request ids of time and random bits. An id that a caller of the internal listener sends is kept if it is short and plain, so
/// that a request can be followed through several systems.
#[derive(Clone)]
pub struct RequestIds {
    clock: Arc<dyn Clock>,
    rng: RandomSource,
}

impl RequestIds {
    /// Returns ids from this clock and this source of randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, rng: RandomSource) -> Self {
        Self { clock, rng }
    }
}

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        let id = format!(
            "{:012x}{:016x}",
            self.clock.now().as_millisecond(),
            u64::from_le_bytes(self.rng.bytes())
        );
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}

/// Removes a request id that is unfit for a log, so that a new one is made.
pub(super) fn plain_request_id(mut request: Request) -> Request {
    let plain = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    if request.headers().get("x-request-id").is_some_and(|value| !plain(value)) {
        request.headers_mut().remove("x-request-id");
    }
    request
}

/// Removes the request id of a client that is not authenticated.
pub(super) fn own_request_id(mut request: Request) -> Request {
    request.headers_mut().remove("x-request-id");
    request
}

/// The span of a request names the route and never the address: the callback's address holds the token.
#[derive(Debug, Clone, Copy)]
struct Spans(&'static str);

impl<B> MakeSpan<B> for Spans {
    fn make_span(&mut self, request: &http::Request<B>) -> Span {
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        tracing::info_span!("request", listener = self.0, method = %request.method(), route, request_id = id, caller = Empty)
    }
}
