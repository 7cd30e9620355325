//! Behaviour of the receiver: for all requests by flags, for some by their path.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::StatusCode;

use crate::domain::{HumanDuration, RateLimit};

/// Status without any flag.
const WELL: StatusCode = StatusCode::NO_CONTENT;

/// Status of a failure without any flag.
const FAILURE: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// Behaviour by flags or path. Without any: 204 for every genuine request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct Behaviour {
    /// Answer with this status, such as 500
    #[arg(long, value_name = "CODE", value_parser = status)]
    pub(super) status: Option<StatusCode>,
    /// Disable the endpoint: answer with 410
    #[arg(long, conflicts_with = "status")]
    pub(super) gone: bool,
    /// Fail in this way
    #[arg(long, value_enum, conflicts_with_all = ["status", "gone"])]
    pub(super) trouble: Option<ReceiverTrouble>,
    /// Fail only the first attempts of each webhook-id (with 500 unless another way is asked for), then accept
    #[arg(long, value_name = "NUMBER")]
    pub(super) fail_first: Option<u32>,
    /// Accept at most this rate, such as 5/s, and answer further requests with 429 and Retry-After
    #[arg(long, value_name = "RATE")]
    pub(super) rate_limit: Option<RateLimit>,
    /// Send this Retry-After with 429 and 503
    #[arg(long, value_name = "DURATION")]
    pub(super) retry_after: Option<HumanDuration>,
    /// Answer so much later
    #[arg(long, value_name = "DURATION")]
    pub(super) slow: Option<HumanDuration>,
}

/// Failures without a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReceiverTrouble {
    /// Never answers
    Hang,
    /// Breaks the connection off
    Reset,
    /// Answers one byte a second
    Drip,
    /// Answers 200 with a body that never ends
    Endless,
    /// Answers with headers that never end
    Flood,
    /// Answers something that is not HTTP
    Garbage,
    /// Redirects to another place
    Redirect,
}

/// Answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// Status, with the wait of `Retry-After`.
    Status(StatusCode, Option<Duration>),
    /// No proper answer.
    Trouble(ReceiverTrouble),
}

impl Reply {
    /// Returns whether the sender counts the answer as a success.
    pub(super) fn accepts(self) -> bool {
        match self {
            Self::Status(status, _) => status.is_success(),
            Self::Trouble(trouble) => matches!(trouble, ReceiverTrouble::Endless),
        }
    }
}

impl Behaviour {
    /// Returns the behaviour that a path asks for: `/slow/5s/status/500` is both. Other segments are ignored.
    pub(super) fn at(&self, path: &str) -> Result<Self, String> {
        let mut asked = self.clone();
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            let mut value = || parts.next().ok_or_else(|| format!("/{part}/ needs a value behind it"));
            let told = |why: &dyn std::fmt::Display| format!("/{part}/: {why}");
            match part {
                "slow" => asked.slow = Some(value()?.parse().map_err(|e| told(&e))?),
                "retry-after" => asked.retry_after = Some(value()?.parse().map_err(|e| told(&e))?),
                "fail-first" => asked.fail_first = Some(value()?.parse().map_err(|e| told(&e))?),
                "rate-limit" => {
                    let rate = [value()?, value()?].join("/");
                    asked.rate_limit = Some(rate.parse().map_err(|e| told(&e))?);
                }
                "status" => asked.answers(Some(status(value()?).map_err(|e| told(&e))?), false, None),
                "gone" => asked.answers(None, true, None),
                part => {
                    if let Ok(trouble) = ReceiverTrouble::from_str(part, false) {
                        asked.answers(None, false, Some(trouble));
                    }
                }
            }
        }
        Ok(asked)
    }

    /// Returns the answer to the `attempt`-th request of an id, if the rate is kept.
    pub(super) fn reply(&self, attempt: u32, is_genuine: bool) -> Reply {
        let good = if is_genuine { WELL } else { StatusCode::UNAUTHORIZED };
        let bad = match (self.trouble, self.gone, self.status) {
            (Some(trouble), ..) => Some(Reply::Trouble(trouble)),
            (None, true, _) => Some(Reply::Status(StatusCode::GONE, None)),
            (None, false, status) => status.map(|status| self.status(status)),
        };
        match (self.fail_first, bad) {
            (Some(first), bad) if attempt <= first => bad.unwrap_or(self.status(FAILURE)),
            (None, Some(bad)) => bad,
            _ => self.status(good),
        }
    }

    /// Returns the answer to a request beyond the rate.
    pub(super) fn too_many(&self, wait: Duration) -> Reply {
        Reply::Status(StatusCode::TOO_MANY_REQUESTS, Some(self.retry_after.map_or(wait, HumanDuration::get)))
    }

    fn status(&self, status: StatusCode) -> Reply {
        let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Reply::Status(status, self.retry_after.filter(|_| waits).map(HumanDuration::get))
    }

    /// Of these three only one can be.
    fn answers(&mut self, status: Option<StatusCode>, gone: bool, trouble: Option<ReceiverTrouble>) {
        (self.status, self.gone, self.trouble) = (status, gone, trouble);
    }
}

fn status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| "a status is a number from 200 to 599".to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn plain(status: u16) -> Reply {
        Reply::Status(StatusCode::from_u16(status).unwrap(), None)
    }

    fn waiting(status: u16, seconds: u64) -> Reply {
        Reply::Status(StatusCode::from_u16(status).unwrap(), Some(Duration::from_secs(seconds)))
    }

    #[rstest]
    #[case("/", [plain(204), plain(204)])]
    #[case("/hooks/crm", [plain(204), plain(204)])]
    #[case("/status/500", [plain(500), plain(500)])]
    #[case("/crm/status/503/retry-after/7s", [waiting(503, 7), waiting(503, 7)])]
    #[case("/retry-after/7s", [plain(204), plain(204)])]
    #[case("/gone", [plain(410), plain(410)])]
    #[case("/fail-first/1", [plain(500), plain(204)])]
    #[case("/fail-first/1/status/429", [plain(429), plain(204)])]
    #[case("/fail-first/1/reset", [Reply::Trouble(ReceiverTrouble::Reset), plain(204)])]
    #[case("/hang", [Reply::Trouble(ReceiverTrouble::Hang); 2])]
    fn a_path_asks_for_a_behaviour(#[case] path: &str, #[case] replies: [Reply; 2]) {
        let behaviour = Behaviour::default().at(path).unwrap();
        assert_eq!([1, 2].map(|attempt| behaviour.reply(attempt, true)), replies);
    }

    #[test]
    fn a_path_overrules_the_flags_and_adds_to_them() {
        let flags = Behaviour { gone: true, slow: Some("1s".parse().unwrap()), ..Behaviour::default() };
        let asked = flags.at("/status/418/rate-limit/5/s").unwrap();
        assert_eq!(asked.reply(1, true), plain(418));
        assert_eq!((asked.slow, asked.rate_limit), (flags.slow, Some("5/s".parse().unwrap())));
        assert_eq!(flags.at("/x").unwrap(), flags);
    }

    #[rstest]
    #[case("/slow", "needs a value")]
    #[case("/slow/soon", "a duration is")]
    #[case("/status/99", "200 to 599")]
    #[case("/rate-limit/5", "needs a value")]
    #[case("/rate-limit/5/d", "a rate is")]
    #[case("/fail-first/-1", "invalid digit")]
    fn a_path_that_cannot_be_followed_is_told(#[case] path: &str, #[case] why: &str) {
        assert!(Behaviour::default().at(path).unwrap_err().contains(why));
    }

    #[test]
    fn what_is_not_genuine_is_refused_unless_another_answer_was_asked_for() {
        assert_eq!(Behaviour::default().reply(1, false), plain(401));
        assert_eq!(Behaviour::default().at("/status/200").unwrap().reply(1, false), plain(200));
    }
}
