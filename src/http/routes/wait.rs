//! `/wait/{ticket}`: a browser watches one authentication, and learns only how far it has come.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use crate::authentications::{Authentications, Change, LimitExceeded, Watching};
use crate::domain::{AuthenticationStatus, BadTicket};
use crate::http::connection::Disconnect;
use crate::http::envelope::Envelope;
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::respond::empty;
use crate::http::sse::{self, SseChunk};

/// Time between two comments: proxies cut connections that are silent for long.
const PING: Duration = Duration::from_secs(15);

/// Delay before a browser connects again.
const RETRY: Duration = Duration::from_secs(1);

/// `GET /wait/{ticket}`
pub(crate) async fn wait(
    State(authentications): State<Arc<Authentications>>,
    Path(ticket): Path<String>,
    uri: Uri,
    Extension(disconnect): Extension<Disconnect>,
    headers: HeaderMap,
) -> Response {
    let mut admitted = match authentications.admit(&ticket) {
        Ok(admitted) => admitted,
        Err(BadTicket::Malformed) => {
            return Problem::ticket_malformed("the path does not end in a ticket").into_response();
        }
        Err(BadTicket::Forged) => return Envelope::forbidden().into_response(),
    };
    if has_heard_the_end(&headers, uri.query()) {
        // With any other answer a browser would connect again, also long after the ticket has expired.
        return empty(StatusCode::NO_CONTENT);
    }
    match authentications.has_run_out(&mut admitted).await {
        Ok(false) => {}
        Ok(true) => return Problem::ticket_expired("the time of this ticket is over").into_response(),
        Err(e) => {
            tracing::warn!(error = %e, "failed to look up the authentication of a wait ticket");
            return Envelope::unavailable().into_response();
        }
    }
    let permit = match authentications.permit(&ticket) {
        Ok(permit) => permit,
        Err(LimitExceeded::Ticket) => {
            return Problem::too_many(LimitExceeded::Ticket.to_string()).into_response();
        }
        Err(LimitExceeded::Total) => return Envelope::too_many().into_response(),
    };
    let watching = authentications.watch(admitted, permit);
    let watcher = TicketStream { watching, disconnect, told: None, over: false };
    sse::response(unfold(watcher, async |mut watcher| Some((watcher.next().await?, watcher))))
}

/// Only the last event has an id, which a browser sends when it connects again.
fn has_heard_the_end(headers: &HeaderMap, query: Option<&str>) -> bool {
    let last = sse::last_event_id(headers, query);
    let status = last.and_then(|last| last.parse::<AuthenticationStatus>().ok());
    status.is_some_and(|status| status != AuthenticationStatus::Pending)
}

/// Streams the status of an authentication, each time that it changes, until it is final.
struct TicketStream {
    watching: Watching,
    disconnect: Disconnect,
    told: Option<AuthenticationStatus>,
    over: bool,
}

impl TicketStream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            // The browser connects again.
            let found = self.watching.look().await.ok()?;
            // Tickets are made for expectations only: a missing one was pruned after its end.
            let status = found.map_or(AuthenticationStatus::Expired, |found| found.status);
            if self.told != Some(status) {
                return Some(self.tell(status).into());
            }
            let change = tokio::select! {
                change = self.watching.changed(PING) => change,
                // The permit is free for the next browser.
                () = self.disconnect.happened() => return None,
            };
            match change {
                Change::Perhaps => {}
                Change::NotYet => return Some(SseChunk::default().comment("ping").into()),
                Change::Never => return None,
            }
        }
    }

    fn tell(&mut self, status: AuthenticationStatus) -> SseChunk {
        let first = self.told.replace(status).is_none();
        self.over = status != AuthenticationStatus::Pending;
        let piece = if first { SseChunk::default().retry(RETRY) } else { SseChunk::default() };
        let data = json!({"status": status});
        if self.over { piece.event(status, "status", &data) } else { piece.message("status", &data) }
    }
}
