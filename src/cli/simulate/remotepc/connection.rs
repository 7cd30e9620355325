//! Connections of the simulated server. hyper is driven by hand, because one of the failures is a broken connection.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::wire::{Asked, Broken, SimulatedServer};
use crate::cli::simulate::listener::{HEAD_TIMEOUT, MAX_BODY};

/// Answers the requests of a connection.
pub(super) async fn serve(stream: TcpStream, server: Arc<SimulatedServer>) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { answer(request, &server).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that the client breaks off is no error here.
    let _ = connection.await;
}

/// Returns an answer; an error breaks the connection off.
async fn answer(
    request: Request<Incoming>,
    server: &SimulatedServer,
) -> Result<Response<Full<Bytes>>, Broken> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Broken)?.to_bytes();
    let asked = Asked { method: head.method, path: head.uri.path().to_owned(), headers: head.headers, body };
    server.answer(&asked).await
}
