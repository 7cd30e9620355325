//! JSON bodies of the internal listener's requests.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Problem;

/// Maximum length of a body on the internal listener, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Time limit for a body to arrive, however steadily it does.
pub(in crate::http) const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// JSON body. An empty body counts as `{}`.
///
/// A body that is not JSON is 400, one of another form (also with an unknown field) 422, another content type 415,
/// more than 1 MiB 413. Messages name the field and never repeat a value, which may be a secret.
#[derive(Debug)]
pub(in crate::http) struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json(&parts.headers) {
            return Err(Problem::unsupported_media_type("send the body as `Content-Type: application/json`"));
        }
        parse(&bytes).map(Self)
    }
}

/// A body without fields: `{}`, or none at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EmptyBody {}

/// Reads a body of at most 1 MiB within [`BODY_TIMEOUT`].
pub(in crate::http) async fn whole(body: Body) -> Result<bytes::Bytes, Problem> {
    let Ok(collected) = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await
    else {
        return Err(Problem::request_timeout("the body did not arrive within 15 s"));
    };
    match collected {
        Ok(collected) => Ok(without_mark(collected.to_bytes())),
        Err(e) if e.is::<LengthLimitError>() => Err(Problem::too_large("a body may be 1 MiB long")),
        Err(_) => Err(Problem::bad_request("the body did not arrive whole")),
    }
}

/// Returns a body without the byte-order mark that some editors and libraries write before JSON.
fn without_mark(body: bytes::Bytes) -> bytes::Bytes {
    if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|e| {
        if e.is_data() {
            Problem::unprocessable(said(&e))
        } else {
            Problem::bad_request(format!(
                "the body is not JSON: it breaks off or goes wrong at line {}, column {}",
                e.line(),
                e.column()
            ))
        }
    })
}

/// Returns the parser's error without the value, which may be a secret in the wrong field.
fn said(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: ")) {
        Some(rest) => match rest.rsplit_once(", expected ") {
            Some((_, expected)) => format!("the body holds something else where it should hold {expected}"),
            None => "the body holds a value of the wrong type".to_owned(),
        },
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::parse;
    use crate::domain::EndpointName;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        name: EndpointName,
        #[serde(default)]
        count: u8,
    }

    #[rstest::rstest]
    #[case(r#"{"name":"a","count":1}"#, 200, "")]
    #[case(r#"{"name":"a""#, 400, "not JSON")]
    #[case("nonsense", 400, "not JSON")]
    #[case(r#"{"nam":"planted"}"#, 422, "unknown field `nam`")]
    #[case("{}", 422, "missing field `name`")]
    #[case(r#"{"name":"a","count":"planted"}"#, 422, "should hold u8")]
    #[case(r#"{"name":"planted with spaces"}"#, 422, "an endpoint's name is")]
    #[case("[]", 422, "")]
    fn bodies(#[case] body: &str, #[case] status: u16, #[case] words: &str) {
        match parse::<Wanted>(body.as_bytes()) {
            Ok(wanted) => assert_eq!((status, wanted.name.as_str(), wanted.count), (200, "a", 1)),
            Err(problem) => {
                let said = format!("{problem:?}");
                assert_eq!(problem.status().as_u16(), status, "{said}");
                assert!(said.contains(words) && !said.contains("planted"), "{said}");
            }
        }
    }
}
