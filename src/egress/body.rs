//! Request of an event in each of the three formats.
//!
//! The bytes depend only on the event and the endpoint, not on the time or the attempt: each attempt of a delivery
//! sends the same bytes.

use std::net::IpAddr;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use crate::domain::{
    EndpointUrl, Event, EventId, EventType, Format, RawJson, ServiceName, Trust, Uaid, iso_millis,
};

/// Request without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// HTTP method.
    pub method: Method,
    /// URL with the query that the format adds. It may hold a secret of the receiver.
    pub url: Url,
    /// Content type of the body; `None` without a body.
    pub content_type: Option<&'static str>,
    /// Body, which is signed.
    pub body: Bytes,
}

/// Error about an event that the format `remauth` cannot express, because RemAuth has no parameter for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("RemAuth has no callback for {0}, so a `remauth` endpoint cannot be told of it")]
pub struct UnsupportedEvent(pub EventType);

/// Writes an event into a request.
pub fn render(format: Format, event: &Event, to: &EndpointUrl) -> Result<Rendered, UnsupportedEvent> {
    match format {
        Format::Standard => Ok(post(to, "application/json", &standard(event))),
        Format::CloudEvents => Ok(post(to, "application/cloudevents+json", &cloud_event(event))),
        Format::RemAuth => remauth(event, to).ok_or(UnsupportedEvent(event.event_type)),
    }
}

/// An event without what changes after it was stored (`duplicates`) and what means nothing elsewhere (`cursor`).
#[derive(Serialize)]
struct Data<'a> {
    id: &'a EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    service: Option<&'a ServiceName>,
    uaid: Option<Uaid>,
    trust: Trust,
    source_ip: Option<IpAddr>,
    #[serde(with = "iso_millis")]
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawJson>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a serde_json::Value>,
}

impl<'a> From<&'a Event> for Data<'a> {
    fn from(event: &'a Event) -> Self {
        // Every field by name, so that a new field does not compile until it is decided here.
        let Event {
            id,
            cursor: _,
            event_type,
            service,
            uaid,
            trust,
            source_ip,
            received_at,
            duplicates: _,
            expected,
            subject,
            state,
            late,
            detail,
        } = event;
        Self {
            id,
            event_type: *event_type,
            service: service.as_ref(),
            uaid: *uaid,
            trust: *trust,
            source_ip: *source_ip,
            received_at: *received_at,
            expected: *expected,
            subject: subject.as_deref(),
            state: state.as_ref(),
            late: *late,
            detail: detail.as_ref(),
        }
    }
}

/// Standard Webhooks 1.0.0.
#[derive(Serialize)]
struct Standard<'a> {
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(with = "iso_millis")]
    timestamp: Timestamp,
    data: Data<'a>,
}

fn standard(event: &Event) -> Standard<'_> {
    Standard { event_type: event.event_type, timestamp: event.received_at, data: event.into() }
}

/// CloudEvents 1.0, structured mode.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a EventId,
    source: String,
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Uaid>,
    #[serde(with = "iso_millis")]
    time: Timestamp,
    datacontenttype: &'static str,
    data: Data<'a>,
}

fn cloud_event(event: &Event) -> CloudEvent<'_> {
    let source = match &event.service {
        Some(service) if event.trust != Trust::Own => format!("/remauth/{service}"),
        _ => "/remgate".to_owned(),
    };
    CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source,
        event_type: event.event_type,
        subject: event.uaid,
        time: event.received_at,
        datacontenttype: "application/json",
        data: event.into(),
    }
}

fn post(to: &EndpointUrl, content_type: &'static str, body: &impl Serialize) -> Rendered {
    let body = serde_json::to_vec(body).expect("texts and numbers under fixed keys become JSON");
    Rendered {
        method: Method::POST,
        url: to.as_url().clone(),
        content_type: Some(content_type),
        body: body.into(),
    }
}

/// Returns RemAuth's own GET request, with its parameter after those of the URL.
fn remauth(event: &Event, to: &EndpointUrl) -> Option<Rendered> {
    let parameter = event.event_type.callback()?;
    let uaid = event.uaid?;
    let mut url = to.as_url().clone();
    let query = match url.query() {
        None | Some("") => format!("{parameter}={uaid}"),
        Some(own) => format!("{own}&{parameter}={uaid}"),
    };
    url.set_query(Some(&query));
    Some(Rendered { method: Method::GET, url, content_type: None, body: Bytes::new() })
}
