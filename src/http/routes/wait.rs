//! `/wait/{ticket}`: a browser watches one authentication, and learns only how far it has come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::authentications::{Authentications, Crowded, Watching};
use crate::domain::{AuthenticationStatus, BadTicket};
use crate::http::envelope::Envelope;
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::respond::empty;

/// How often a line is sent that says nothing: proxies cut connections that are silent for long.
const PING: Duration = Duration::from_secs(15);

/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Where a browser says what it has heard last.
pub(in crate::http) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /wait/{ticket}`
pub(crate) async fn wait(
    State(authentications): State<Arc<Authentications>>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
) -> Response {
    let admitted = match authentications.admit(&ticket) {
        Ok(admitted) => admitted,
        Err(BadTicket::Malformed) => {
            return Problem::ticket_malformed("the path does not end in a ticket").into_response();
        }
        Err(BadTicket::Forged) => return Envelope::forbidden().into_response(),
        Err(BadTicket::Expired) => {
            return Problem::ticket_expired("the time of this ticket is over").into_response();
        }
    };
    if has_heard_the_end(&headers) {
        // Whatever else a browser is told, it connects again.
        return empty(StatusCode::NO_CONTENT);
    }
    let place = match authentications.place(&ticket) {
        Ok(place) => place,
        Err(Crowded::Ticket) => return Problem::too_many(Crowded::Ticket.to_string()).into_response(),
        Err(Crowded::Door) => return Envelope::crowded().into_response(),
    };
    let told = told(authentications.watch(admitted, place));
    let mut response = Sse::new(told).keep_alive(KeepAlive::new().interval(PING)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some proxies gather what they pass on until it is worth it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Only the last thing that is told has an id, which a browser says when it connects again.
fn has_heard_the_end(headers: &HeaderMap) -> bool {
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let status = last.and_then(|last| last.parse::<AuthenticationStatus>().ok());
    status.is_some_and(|status| status != AuthenticationStatus::Pending)
}

/// How far the watched authentication has come, each time that this changes, until it is over.
fn told(watching: Watching) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(Some((watching, None)), async |state| {
        let (mut watching, mut told) = state?;
        loop {
            // What cannot be known now is asked for again by the browser.
            let found = watching.look().await.ok()?;
            // Tickets are only made for what is expected: what is not there any more was pruned long after.
            let status = found.map_or(AuthenticationStatus::Expired, |found| found.status);
            if told != Some(status) {
                let over = status != AuthenticationStatus::Pending;
                let event = event(status, told.is_none(), over);
                told = Some(status);
                return Some((Ok(event), (!over).then_some((watching, told))));
            }
            if !watching.changed().await {
                return None;
            }
        }
    })
}

fn event(status: AuthenticationStatus, first: bool, over: bool) -> Event {
    let event = Event::default().event("status").data(json!({"status": status}).to_string());
    let event = if first { event.retry(RETRY) } else { event };
    if over { event.id(status.as_str()) } else { event }
}
