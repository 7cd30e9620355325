//! Listener that slow, silent or numerous clients cannot block.
//!
//! hyper's HTTP/1 server is driven by hand because the ready-made accept loops give a connection no deadline for its
//! first line. HTTP/2 is left to the proxy that ends TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Service, ServiceExt};

use super::connection::{Connection, ConnectionIo, Disconnect};
use super::count::RequestCounter;
use super::layers::{MAX_HEAD, MAX_HEADERS};
use super::peer::Peer;
use super::write_timeout::WriteTimeout;
use crate::domain::Clock;
use crate::lifecycle::Lifecycle;

/// Size of a request's head at which hyper itself refuses it, in bytes. The layers refuse smaller ones in
/// the form of the path.
const HARD_MAX_HEAD: usize = 2 * MAX_HEAD;

/// Number of header lines at which hyper itself refuses a request.
const HARD_MAX_HEADERS: usize = 2 * MAX_HEADERS;

/// Maximum number of connections of a listener: ten thousand waiting requests and a reserve.
const MAX_CONNECTIONS: usize = 12_000;

/// Pause after the system had no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Handling of a request whose client disconnects before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectPolicy {
    /// The request is finished: RemAuth sends a callback only once.
    Finish,
    /// The request is dropped.
    Forget,
}

/// Settings and handles of a listener.
pub struct Listening {
    /// Requests that it serves.
    pub router: Router,
    /// Counts requests.
    pub count: RequestCounter,
    /// Handling of a request whose client disconnects.
    pub hung_up: DisconnectPolicy,
    /// Time limit between two requests on a connection.
    pub idle_timeout: Duration,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Lifecycle of the process.
    pub lifecycle: Lifecycle,
}

/// Accepts connections until the listeners are to close, each in a task of its own. What the system has accepted until then is
/// served, too.
pub async fn serve(listener: TcpListener, listening: Listening) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let closing = listening.lifecycle.closing().clone();
    let listening = Arc::new(listening);
    while let Some(accepted) =
        closing.run_until_cancelled(accept(&listener, &permits, listening.count.listener)).await
    {
        listening.begin(accepted);
    }
    while let Some(accepted) = accept(&listener, &permits, listening.count.listener).now_or_never() {
        listening.begin(accepted);
    }
}

type Accepted = (TcpStream, Peer, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>, name: &'static str) -> Accepted {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and a client waits for them; a failure costs only some speed.
                let _ = stream.set_nodelay(true);
                return (stream, Peer(peer), permit);
            }
            Err(e) => {
                tracing::warn!(listener = name, error = %e, "failed to accept a connection; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Listening {
    fn begin(self: &Arc<Self>, (stream, peer, permit): Accepted) {
        let this = Arc::clone(self);
        self.lifecycle.spawn_connection(async move {
            this.serve_connection(stream, peer).await;
            drop(permit);
        });
    }

    async fn serve_connection(&self, stream: TcpStream, peer: Peer) {
        let connection = Connection::new(stream, self.idle_timeout);
        let io = WriteTimeout::new(ConnectionIo::new(Arc::clone(&connection)), Arc::clone(&self.clock));
        let service = Requests {
            router: self.router.clone(),
            peer,
            connection,
            lifecycle: self.lifecycle.clone(),
            forgets: self.hung_up == DisconnectPolicy::Forget,
        };
        let connection = http1::Builder::new()
            // hyper would read during a request to notice a disconnect, into another buffer of 8 KiB for each request that
            // waits. The requests notice it themselves.
            .half_close(true)
            // The connection has time limits of its own, which tell an idle client from one that is slow.
            .header_read_timeout(None)
            .max_headers(HARD_MAX_HEADERS)
            .max_buf_size(HARD_MAX_HEAD)
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.lifecycle.closing().cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.lifecycle.aborted().cancelled() => Ok(()),
                }
            }
        };
        if let Err(e) = ended {
            if e.is_parse() {
                self.count.unparsable(peer, &e);
            }
            tracing::debug!(peer = %peer.0, error = %e, "a connection ended early");
        }
    }
}

/// Requests of one connection.
#[derive(Clone)]
struct Requests {
    router: Router,
    peer: Peer,
    connection: Arc<Connection>,
    lifecycle: Lifecycle,
    /// True if a request is dropped when its client disconnects, and a stop waits for requests under way before the listeners close.
    /// Callbacks are finished in any case, and keep arriving until the process ends.
    forgets: bool,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    /// The client has disconnected.
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(Disconnect::of(&self.connection));
        let serving = self.connection.serve();
        let finishing = self.forgets.then(|| self.lifecycle.request());
        let soft = self.lifecycle.soft().clone();
        let disconnect = self.forgets.then(|| Disconnect::of(&self.connection));
        let answering = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move {
            let answered = match &disconnect {
                Some(disconnect) => tokio::select! {
                    answered = answering => answered,
                    () = disconnect.happened() => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
                None => answering.await,
            };
            let Ok(mut response) = answered;
            if soft.is_cancelled() {
                // The client's next request needs another connection.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let held = (serving, finishing);
            Ok(response.map(|body| Body::new(Holding { body, disconnect, disconnected: None, _held: held })))
        })
    }
}

pin_project! {
    /// Body that holds a value until it has been sent or dropped. It fails when the client disconnects.
    struct Holding<T> {
        #[pin]
        body: Body,
        disconnect: Option<Disconnect>,
        disconnected: Option<BoxFuture<'static, ()>>,
        _held: T,
    }
}

impl<T> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        let Some(disconnect) = this.disconnect else { return Poll::Pending };
        let disconnected = this.disconnected.get_or_insert_with(|| {
            let disconnect = disconnect.clone();
            Box::pin(async move { disconnect.happened().await })
        });
        ready!(disconnected.poll_unpin(cx));
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionAborted)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
