//! Connections of the receiver. hyper is driven by hand, because some failures are no HTTP answer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::behaviour::{ReceiverTrouble, Reply};
use super::report::Decision;
use super::state::ReceiverState;
use super::troubles;
use crate::cli::simulate::listener::{HEAD_TIMEOUT, MAX_BODY};

/// Connection that is broken off or kept silent instead of an answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("trouble was asked for")]
    Asked,
    #[error("the request broke off")]
    Unread,
}

type Answered = Result<Response<Full<Bytes>>, NoAnswer>;

/// Answers the requests of a connection, or fails as requested.
pub(super) async fn serve(stream: TcpStream, state: Arc<ReceiverState>) {
    let (told, trouble) = watch::channel(None);
    let service = service_fn(move |request| answer(request, Arc::clone(&state), told.clone()));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Keeps the socket open at the end, for what no HTTP library would write.
    let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    let asked = *trouble.borrow();
    if let (Err(_), Some(asked)) = (served, asked) {
        troubles::make(asked, stream).await;
    }
}

/// Boxed, because a connection that gives its stream back wants futures that can be moved.
fn answer(
    request: Request<Incoming>,
    state: Arc<ReceiverState>,
    told: watch::Sender<Option<ReceiverTrouble>>,
) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Ok(with(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
            }
            Err(_) => return Err(NoAnswer::Unread),
        };
        let decision = state.receive(&head, &body);
        tokio::time::sleep(decision.wait).await;
        give(decision, &told)
    })
}

fn give(Decision { reply, text, .. }: Decision, told: &watch::Sender<Option<ReceiverTrouble>>) -> Answered {
    match reply {
        Reply::Status(status, wait) => {
            let mut response = with(status, text.into());
            if let Some(wait) = wait {
                response.headers_mut().insert(RETRY_AFTER, troubles::whole_seconds(wait).into());
            }
            Ok(response)
        }
        Reply::Trouble(ReceiverTrouble::Redirect) => {
            let mut response = with(StatusCode::FOUND, Bytes::new());
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
            Ok(response)
        }
        Reply::Trouble(trouble) => {
            told.send_replace(Some(trouble));
            Err(NoAnswer::Asked)
        }
    }
}

fn with(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
