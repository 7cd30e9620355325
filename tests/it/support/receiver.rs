//! Receiver of an endpoint: records requests and answers as told.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use remgate::domain::{Clock, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{BOUND, within_bound};

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, with the query if there is one.
    pub(crate) target: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, byte for byte.
    pub(crate) body: Bytes,
    /// Time at which the request was complete, on the monotonic clock.
    pub(crate) at: Instant,
}

impl Received {
    /// A header's text; a panic when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value =
            self.headers.get(name).unwrap_or_else(|| panic!("no header `{name}` in {:?}", self.headers));
        value.to_str().expect("our headers are text")
    }

    /// The body, read as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.body))
    }

    /// Asks the Standard Webhooks library whether `secret` signed this; it also checks the timestamp against the
    /// machine's own clock.
    pub(crate) fn verify(&self, secret: &str) -> Result<(), standardwebhooks::WebhookError> {
        standardwebhooks::Webhook::new(secret)?.verify(&self.body, &self.headers)
    }
}

/// Answer and the manner in which it is sent.
#[derive(Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    manner: Manner,
    gate: Option<CancellationToken>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Whole,
    NeverEnding,
    Hang,
    Reset,
}

impl Answer {
    /// An empty answer with `status`.
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("tests name real codes");
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), manner: Manner::Whole, gate: None }
    }

    /// No answer at all, on a connection that stays open.
    pub(crate) fn hang() -> Self {
        Self { manner: Manner::Hang, ..Self::status(200) }
    }

    /// No answer: the connection is reset.
    pub(crate) fn reset() -> Self {
        Self { manner: Manner::Reset, ..Self::status(200) }
    }

    /// With this body.
    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With the body said again and again, for as long as the other side reads.
    pub(crate) fn never_ending(self) -> Self {
        Self { manner: Manner::NeverEnding, ..self }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().expect("tests name real values"));
        self
    }

    /// Held back until `gate` is cancelled.
    pub(crate) fn after(self, gate: &CancellationToken) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }
}

type Behaviour = Box<dyn FnMut(&Received) -> Answer + Send>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A receiver on a port of its own. Dropping it closes all its connections.
pub(crate) struct Receiver {
    addr: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    arrived: UnboundedReceiver<Received>,
    stop: CancellationToken,
}

impl Receiver {
    /// One that accepts everything with an empty 200.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| Answer::status(200)).await
    }

    /// One that answers as `behaviour` says.
    pub(crate) async fn answering(behaviour: impl FnMut(&Received) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let (sender, arrived) = unbounded_channel();
        let stop = CancellationToken::new();
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Box::new(behaviour)));
        let server = ReceiverServer { behaviour: Arc::clone(&behaviour), sender, stop: stop.clone() };
        detach(server.accept(listener));
        Self { addr, behaviour, arrived, stop }
    }

    /// One that answers with each of `statuses` in turn, and with the last one from then on.
    pub(crate) async fn answering_in_turn(statuses: &[u16]) -> Self {
        let mut left: Vec<u16> = statuses.iter().rev().copied().collect();
        Self::answering(move |_| {
            let status = if left.len() > 1 { left.pop() } else { left.first().copied() };
            Answer::status(status.expect("there is a last status"))
        })
        .await
    }

    /// From now on, answers as `behaviour` says.
    pub(crate) fn answer(&self, behaviour: impl FnMut(&Received) -> Answer + Send + 'static) {
        *self.behaviour.lock().expect("a behaviour does not panic") = Box::new(behaviour);
    }

    /// Returns the URL of `path` on this receiver.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns its address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next request that was not returned yet.
    pub(crate) async fn next(&mut self) -> Received {
        self.next_within(BOUND).await
    }

    /// The next request that has not been taken yet; waits for at most `bound`.
    pub(crate) async fn next_within(&mut self, bound: Duration) -> Received {
        let next = within_bound(bound, "a request at the receiver", self.arrived.recv()).await;
        next.expect("the receiver listens as long as it lives")
    }

    /// Returns all requests that have arrived and were not returned yet.
    pub(crate) fn arrived(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }

    /// Panics if a request has arrived that was not returned yet. Does not wait: call it when everything is settled.
    pub(crate) fn expect_none(&mut self) {
        let arrived = self.arrived();
        assert!(arrived.is_empty(), "nothing was to arrive, but this did: {arrived:#?}");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// State that the receiver's tasks share.
#[derive(Clone)]
struct ReceiverServer {
    behaviour: Arc<Mutex<Behaviour>>,
    sender: UnboundedSender<Received>,
    stop: CancellationToken,
}

/// Reason to end a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the test wants this connection reset")]
struct WantsReset;

impl ReceiverServer {
    async fn accept(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let accepting = async {
            while let Ok((stream, _)) = listener.accept().await {
                let server = self.clone();
                detach(async move {
                    let stop = server.stop.clone();
                    stop.run_until_cancelled_owned(server.serve(stream)).await;
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    }

    async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request| self.clone().handle(request));
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
        let stream = connection.into_parts().io.into_inner();
        if served.is_err() {
            // Closing a connection that does not linger is what sends the reset.
            let _ = stream.set_zero_linger();
        }
    }

    /// Boxed, because a connection that gives its stream back wants futures that can be moved.
    fn handle(
        self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, WantsReset>> + Send>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| WantsReset)?.to_bytes();
            let received = Received {
                method: head.method,
                target: head.uri.to_string(),
                headers: head.headers,
                body,
                at: SystemClock.instant(),
            };
            let answer = (self.behaviour.lock().expect("a behaviour does not panic"))(&received);
            let _ = self.sender.send(received);
            give(answer).await
        })
    }
}

async fn give(answer: Answer) -> Result<Response<Body>, WantsReset> {
    if let Some(gate) = &answer.gate {
        gate.cancelled().await;
    }
    let body = match answer.manner {
        Manner::Whole => Full::new(answer.body).boxed_unsync(),
        Manner::NeverEnding => {
            let pieces = stream::repeat(answer.body).map(|piece| Ok(Frame::data(piece)));
            StreamBody::new(pieces).boxed_unsync()
        }
        Manner::Hang => std::future::pending().await,
        Manner::Reset => return Err(WantsReset),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the receiver's own token ends its tasks, and each test its runtime"
)]
fn detach(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
