//! Upstream's envelope: parsing, and errors of remgate in the same form.

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Envelope of every answer of upstream; further fields are ignored.
///
/// A JSON object with the string `status`, the integer `code`, and `message` or `errors`. `message` is a string, a
/// list or an object, depending on the operation.
pub(super) struct UpstreamEnvelope<'a> {
    pub(super) code: i64,
    pub(super) message: Option<&'a RawValue>,
    pub(super) errors: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EnvelopeJson<'a> {
    #[serde(rename = "status")]
    _status: String,
    code: i64,
    #[serde(borrow, default, deserialize_with = "present")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    errors: Option<&'a RawValue>,
}

/// Returns `Some` for a present field, also for `null`.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> UpstreamEnvelope<'a> {
    /// Parses the envelope of a body.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let EnvelopeJson { code, message, errors, .. } = serde_json::from_slice(body).ok()?;
        (message.is_some() || errors.is_some()).then_some(Self { code, message, errors })
    }
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    status: String,
    code: u16,
    #[serde(rename = "errorsCount")]
    errors_count: usize,
    errors: Vec<ErrorEntry<'a>>,
}

#[derive(Serialize)]
struct ErrorEntry<'a> {
    description: &'a str,
}

/// Returns an error of remgate in upstream's form: one entry for each description.
#[must_use]
pub fn error_envelope(status: StatusCode, descriptions: &[&str]) -> Bytes {
    let errors: Vec<_> = descriptions.iter().map(|description| ErrorEntry { description }).collect();
    let envelope = ErrorEnvelope {
        status: status_word(status),
        code: status.as_u16(),
        errors_count: errors.len(),
        errors,
    };
    serde_json::to_vec(&envelope).expect("strings and numbers can always be written").into()
}

/// Returns upstream's word for a status: upper case, with one exception.
fn status_word(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) if status == StatusCode::FORBIDDEN => reason.to_owned(),
        Some(reason) => reason.to_ascii_uppercase().replace([' ', '-'], "_").replace('\'', ""),
        None => format!("STATUS_{}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(r#"{"status":"OK","code":200,"message":"SUCCESS"}"#, true)]
    #[case(r#"{"status":"OK","code":200,"message":[]}"#, true)]
    #[case(r#"{"status":"OK","code":200,"message":null}"#, true)]
    #[case(r#" {"code":400,"errors":[],"status":"BAD_REQUEST","errorsCount":0,"trace":{"id":1}} "#, true)]
    #[case(r#"{"status":"OK","code":200}"#, false)]
    #[case(r#"{"status":"OK","message":"SUCCESS"}"#, false)]
    #[case(r#"{"code":200,"message":"SUCCESS"}"#, false)]
    #[case(r#"{"status":200,"code":200,"message":"SUCCESS"}"#, false)]
    #[case(r#"{"status":"OK","code":"200","message":"SUCCESS"}"#, false)]
    #[case(r#"{"status":"OK","code":200.5,"message":"SUCCESS"}"#, false)]
    #[case(r#"[{"status":"OK","code":200,"message":"SUCCESS"}]"#, false)]
    #[case(r#"{"status":"OK","code":200,"message":"SUCCESS"} x"#, false)]
    #[case(r#"{"status":"OK","code":200,"message":"SUCC"#, false)]
    #[case("<html>", false)]
    #[case("", false)]
    #[case("null", false)]
    fn what_counts_as_the_envelope(#[case] body: &str, #[case] counts: bool) {
        assert_eq!(UpstreamEnvelope::read(body.as_bytes()).is_some(), counts);
    }

    #[rstest::rstest]
    #[case(400, "BAD_REQUEST")]
    #[case(401, "UNAUTHORIZED")]
    #[case(403, "Forbidden")]
    #[case(405, "METHOD_NOT_ALLOWED")]
    #[case(500, "INTERNAL_SERVER_ERROR")]
    #[case(502, "BAD_GATEWAY")]
    #[case(503, "SERVICE_UNAVAILABLE")]
    #[case(504, "GATEWAY_TIMEOUT")]
    #[case(599, "STATUS_599")]
    fn status_words_are_upstreams(#[case] status: u16, #[case] word: &str) {
        assert_eq!(status_word(StatusCode::from_u16(status).unwrap()), word);
    }

    #[test]
    fn an_error_of_ours_reads_like_upstreams() {
        let body = error_envelope(StatusCode::BAD_REQUEST, &["FIRSTNAME_REQUIRED", "LASTNAME_REQUIRED"]);
        insta::assert_snapshot!(
            String::from_utf8(body.to_vec()).unwrap(),
            @r#"{"status":"BAD_REQUEST","code":400,"errorsCount":2,"errors":[{"description":"FIRSTNAME_REQUIRED"},{"description":"LASTNAME_REQUIRED"}]}"#
        );
    }
}
