//! The simulator's listener. hyper is driven by hand, because a broken connection is one of its answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::wire::{Account, Asked, Broken};
use crate::lifecycle::Lifecycle;

/// How long a caller has for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a body may be, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// How long to wait when a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Accepts connections until the soft stop.
pub(super) async fn accept(listener: TcpListener, account: Arc<Account>, lifecycle: Lifecycle) {
    let stop = lifecycle.soft().clone();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let (account, soft) = (Arc::clone(&account), stop.clone());
        lifecycle.spawn(async move {
            // What a practising client breaks off is its own business.
            let _ = soft.run_until_cancelled(serve(stream, account)).await;
        });
    }
}

async fn serve(stream: TcpStream, account: Arc<Account>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let account = Arc::clone(&account);
        async move { answer(request, &account).await }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// An answer; an error breaks the connection off without one.
async fn answer(request: Request<Incoming>, account: &Account) -> Result<Response<Full<Bytes>>, Broken> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Broken)?.to_bytes();
    let asked = Asked { method: head.method, path: head.uri.path().to_owned(), headers: head.headers, body };
    account.answer(&asked).await
}
