//! Answer of upstream, unchanged.

use std::fmt;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::envelope::UpstreamEnvelope;
use super::{BadResponse, CallError};

/// Answer in upstream's envelope, success or not, which is passed on as it is. May hold a sign-in link.
#[derive(Clone)]
pub struct UpstreamResponse {
    status: StatusCode,
    code: i64,
    retry_after: Option<HeaderValue>,
    body: Bytes,
}

impl fmt::Debug for UpstreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl UpstreamResponse {
    /// Parses an answer whose body has the envelope.
    ///
    /// The status and the envelope's `code` may disagree: both are passed on as they are. Only a 401 in either place
    /// is about our key, whichever the other one is.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Result<Self, CallError> {
        let bad = CallError::BadResponse { status: Some(status), reason: BadResponse::NoEnvelope };
        let code = UpstreamEnvelope::read(&body).ok_or(bad)?.code;
        if code == i64::from(StatusCode::UNAUTHORIZED.as_u16()) {
            return Err(CallError::KeyRejected { status });
        }
        Ok(Self { status, code, retry_after: headers.get(RETRY_AFTER).cloned(), body })
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the `code` of the envelope, usually the same number.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.code
    }

    /// Time of upstream's `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<&HeaderValue> {
        self.retry_after.as_ref()
    }

    /// Returns the body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns whether upstream did what was asked: both the HTTP status and the code say so.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_success() && (200..300).contains(&self.code)
    }

    /// Returns whether the answer depends on the request alone, so that the same request would get the same answer:
    /// it succeeded, or its content was refused. All other answers concern the moment or our key, or leave open
    /// whether anything was done.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let status = i64::from(self.status.as_u16());
        let code = self.code;
        let passing = |number: i64| {
            !(200..500).contains(&number) || [401, 403, 404, 405, 408, 425, 429].contains(&number)
        };
        self.is_success() || !passing(status) && !passing(code)
    }

    /// Returns the envelope, for typed views.
    pub(super) fn envelope(&self) -> UpstreamEnvelope<'_> {
        UpstreamEnvelope::read(&self.body).expect("it was read when the answer was taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, code: u16) -> Result<UpstreamResponse, CallError> {
        let body = format!(r#"{{"status":"planted","code":{code},"message":"planted"}}"#);
        UpstreamResponse::read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.into())
    }

    #[rstest::rstest]
    #[case(200, 200, true)]
    #[case(200, 400, false)]
    #[case(500, 200, false)]
    #[case(403, 403, false)]
    fn success_is_what_status_and_code_agree_on(
        #[case] status: u16,
        #[case] code: u16,
        #[case] success: bool,
    ) {
        let answer = read(status, code).unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.code(), i64::from(code));
        assert_eq!(answer.is_success(), success);
        assert!(!format!("{answer:?}").contains("planted"));
    }

    #[rstest::rstest]
    #[case(200, 200, true)]
    #[case(400, 400, true)]
    #[case(200, 400, true)]
    #[case(200, 500, false)]
    #[case(500, 200, false)]
    #[case(403, 403, false)]
    #[case(429, 429, false)]
    #[case(200, 403, false)]
    fn what_would_be_answered_again(#[case] status: u16, #[case] code: u16, #[case] again: bool) {
        assert_eq!(read(status, code).unwrap().is_final(), again);
    }

    #[test]
    fn a_401_inside_any_status_is_about_our_key() {
        assert_eq!(read(200, 401).unwrap_err(), CallError::KeyRejected { status: StatusCode::OK });
    }
}
