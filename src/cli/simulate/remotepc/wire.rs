//! Requests and answers of the simulated API, as its document shows them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::account::{Account, AccountOutcome, AccountTrouble, Message, is_slow};
use super::body::RequestBody;
use crate::cli::output::line;
use crate::domain::{Clock, RandomSource, SystemClock};

/// Base path of the API, as at upstream.
pub(super) const BASE: &str = "/rpc-api/reseller/private";

/// Connection that is broken off instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated upstream is down")]
pub(super) struct Broken;

/// A simulated account and the ways in which it shall fail.
pub(super) struct SimulatedServer {
    pub(super) account: Mutex<Account>,
    pub(super) key: SecretString,
    /// The API as it is reached from outside.
    pub(super) base: String,
    pub(super) trouble: Option<AccountTrouble>,
    pub(super) slow_by: Duration,
    pub(super) rng: RandomSource,
}

/// Request to the simulated account.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Serialize)]
struct EnvelopeBody {
    status: &'static str,
    code: u16,
    message: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorsBody<'a> {
    status: &'static str,
    code: u16,
    errors_count: usize,
    errors: Vec<ErrorBody<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    description: &'a str,
}

/// An answer with a body.
pub(super) type Answer = Response<Full<Bytes>>;

/// The time, as the account writes dates.
pub(super) fn now() -> Zoned {
    Timestamp::to_zoned(SystemClock.now(), TimeZone::UTC)
}

impl SimulatedServer {
    /// Answers, and prints one line about it: never a password, a link or a body.
    pub(super) async fn answer(&self, asked: &Asked) -> Result<Answer, Broken> {
        let answer = self.decide(asked).await;
        let status = answer
            .as_ref()
            .map_or_else(|_| "broken off".to_owned(), |answer| answer.status().as_u16().to_string());
        let path = asked.path.split("/autologin/").next().unwrap_or_default();
        // The output may be closed.
        let _ = line(&format!("{} {path} -> {status}", asked.method));
        answer
    }

    async fn decide(&self, asked: &Asked) -> Result<Answer, Broken> {
        if let Some(token) = asked.path.strip_prefix(BASE).and_then(|rest| rest.strip_prefix("/autologin/")) {
            return Ok(self.follow(token));
        }
        let operation = asked.path.strip_prefix(BASE).and_then(|rest| rest.strip_prefix("/user/"));
        let Some(operation) = operation.filter(|name| ["add", "invite", "signin", "list"].contains(name))
        else {
            return Ok(error(StatusCode::NOT_FOUND, &["NOT_FOUND"]));
        };
        if asked.method != Method::POST {
            return Ok(error(StatusCode::METHOD_NOT_ALLOWED, &["METHOD_NOT_ALLOWED"]));
        }
        if !self.knows_key(&asked.headers) {
            return Ok(error(StatusCode::UNAUTHORIZED, &[not_authorized(operation)]));
        }
        if self.trouble == Some(AccountTrouble::Slow) || is_slow(&asked.body) {
            tokio::time::sleep(self.slow_by).await;
        }
        if let Some(answer) = self.trouble.and_then(|trouble| self.trouble(trouble, operation)) {
            return answer;
        }
        let Some(outcome) = self.outcome(operation, &asked.body) else {
            return Ok(error(StatusCode::BAD_REQUEST, &["INVALID_REQUEST"]));
        };
        match outcome {
            AccountOutcome::Done(message) => {
                let body = EnvelopeBody { status: "OK", code: 200, message };
                let body = serde_json::to_vec(&body).expect("texts and numbers become JSON");
                Ok(with_body(StatusCode::OK, "application/json", body.into()))
            }
            AccountOutcome::Refused(words) => Ok(error(StatusCode::BAD_REQUEST, &words)),
            AccountOutcome::Trouble(trouble) => self.trouble(trouble, operation).unwrap_or(Err(Broken)),
        }
    }

    /// Outcome of an operation; `None` when the body is not valid for it.
    fn outcome(&self, operation: &str, body: &[u8]) -> Option<AccountOutcome> {
        let now = now();
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match operation {
            "add" => account.add(&RequestBody::one(body)?, &now),
            "invite" => account.invite(&RequestBody::list(body)?, &now),
            "signin" => account.sign_in(&RequestBody::one(body)?, &self.token(), &self.base),
            _ => account.list(),
        })
    }

    fn token(&self) -> String {
        format!("{:032x}", u128::from_le_bytes(self.rng.bytes()))
    }

    fn knows_key(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let wanted = format!("Bearer {}", self.key.expose_secret());
        given.ct_eq(wanted.as_bytes()).into()
    }

    /// Answer of a failure; `None` for one that only takes time.
    fn trouble(&self, trouble: AccountTrouble, operation: &str) -> Option<Result<Answer, Broken>> {
        let answer = match trouble {
            AccountTrouble::Slow => return None,
            AccountTrouble::Down => return Some(Err(Broken)),
            AccountTrouble::KeyRejected => error(StatusCode::UNAUTHORIZED, &[not_authorized(operation)]),
            // With the space that upstream has there.
            AccountTrouble::Forbidden => error(StatusCode::FORBIDDEN, &["Forbidden "]),
            AccountTrouble::Error => error(StatusCode::INTERNAL_SERVER_ERROR, &["INTERNAL_SERVER_ERROR"]),
            AccountTrouble::Garbage => {
                with_body(StatusCode::OK, "text/html", "<html><body>It works!</body></html>".into())
            }
            AccountTrouble::Redirect => {
                let mut answer = with_body(StatusCode::FOUND, "text/html", Bytes::new());
                let elsewhere = format!("{}/elsewhere", self.base);
                answer
                    .headers_mut()
                    .insert(LOCATION, elsewhere.parse().expect("an address is visible ASCII"));
                answer
            }
        };
        Some(Ok(answer))
    }

    /// Page behind a sign-in link, where upstream would open the account of a user.
    fn follow(&self, token: &str) -> Answer {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, text) = match account.follow(token) {
            Some(user) => (StatusCode::OK, format!("Here {user} would be signed in to RemotePC.\n")),
            None => (StatusCode::GONE, "This link is not known, or was used already.\n".to_owned()),
        };
        with_body(status, "text/plain; charset=utf-8", text.into())
    }
}

/// The document has another word for it where users are listed.
fn not_authorized(operation: &str) -> &'static str {
    if operation == "list" { "UNAUTHORIZED_ACCESS" } else { "NOT_AUTHORIZED" }
}

/// An error, with an entry for each word.
fn error(status: StatusCode, words: &[&str]) -> Answer {
    let name = match status {
        StatusCode::BAD_REQUEST => "BAD_REQUEST",
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        _ => "INTERNAL_SERVER_ERROR",
    };
    let errors: Vec<_> = words.iter().map(|description| ErrorBody { description }).collect();
    let body = ErrorsBody { status: name, code: status.as_u16(), errors_count: errors.len(), errors };
    let body = serde_json::to_vec(&body).expect("texts and numbers become JSON");
    with_body(status, "application/json", body.into())
}

fn with_body(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    answer
}
