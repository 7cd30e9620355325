//! A door: a listener that no slow, silent or crowding caller can hold.
//!
//! hyper's HTTP/1 server is driven by hand because the ready-made accept loops give a connection no deadline for its
//! first line. HTTP/2 is the business of the proxy that ends TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::count::Count;
use super::layers::{MAX_HEAD, MAX_HEADERS};
use super::unread::Unread;
use crate::domain::Clock;
use crate::lifecycle::Lifecycle;

/// How long a caller has for a request's head, counted anew for each request on a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Size of a request's head at which hyper itself refuses it, in bytes. The layers refuse smaller ones, and are able to say
/// it in the words of the path.
const HARD_MAX_HEAD: usize = 2 * MAX_HEAD;

/// Number of header lines at which hyper itself refuses a request.
const HARD_MAX_HEADERS: usize = 2 * MAX_HEADERS;

/// How many connections a door holds at once: ten thousand waiters and some room.
const MAX_CONNECTIONS: usize = 12_000;

/// How long to wait when the system has no more files to give.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Who is at the other end of the connection: a client, or a proxy in front of it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a door does when a caller hangs up before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HungUp {
    /// Does what was asked all the same: RemAuth says a thing but once.
    Finish,
    /// Forgets it: nobody waits any more.
    Forget,
}

/// Accepts connections until the soft stop, each in a task of its own.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    count: Count,
    hung_up: HungUp,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let stop = lifecycle.soft().clone();
    while let Some((stream, peer, place)) =
        stop.run_until_cancelled(accept(&listener, &room, count.listener)).await
    {
        let router = router.clone();
        let stream = Unread::new(stream, Arc::clone(&clock));
        let connection_life = lifecycle.clone();
        let count = count.clone();
        lifecycle.spawn(async move {
            serve_connection(stream, peer, router, hung_up, &connection_life, &count).await;
            drop(place);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    name: &'static str,
) -> (TcpStream, Peer, OwnedSemaphorePermit) {
    let place = Arc::clone(room).acquire_owned().await.expect("nobody closes this semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and somebody waits for each; a refusal costs only some speed.
                let _ = stream.set_nodelay(true);
                return (stream, Peer(peer), place);
            }
            Err(e) => {
                tracing::warn!(door = name, error = %e, "could not accept a connection; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve_connection(
    stream: Unread<TcpStream>,
    peer: Peer,
    router: Router,
    hung_up: HungUp,
    lifecycle: &Lifecycle,
    count: &Count,
) {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(hung_up == HungUp::Finish)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HARD_MAX_HEADERS)
        .max_buf_size(HARD_MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = lifecycle.soft().cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = lifecycle.hard().cancelled() => Ok(()),
            }
        }
    };
    if let Err(e) = ended {
        if e.is_parse() {
            count.unparsable(peer, &e);
        }
        tracing::debug!(peer = %peer.0, error = %e, "a connection ended early");
    }
}
