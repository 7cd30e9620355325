//! Extractors of the internal listener. Their refusals are problem documents.

mod json;
mod paging;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::domain::{Invalid, parse_time};

pub(super) use json::{BODY_TIMEOUT, EmptyBody, Json, whole};
pub(super) use paging::{Direction, Paging};

/// Maximum time for which a request is held, whatever it asks for. Many proxies and load balancers end a request after 60 s, and the
/// answer has to be there before.
const MAX_HOLD: Duration = Duration::from_secs(55);

/// Parameters of a query, read one by one; [`Params::finish`] refuses those that were not read.
///
/// A name or value that is not valid percent-encoded UTF-8 is refused, and so is a repeated name where one value is
/// expected, because either could be meant.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a raw query.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, Problem>>().map(Self)
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        let mut values = self.many(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::bad_request(format!("the parameter `{name}` is given more than once"))),
        }
    }

    /// The values of a parameter that may be repeated.
    pub(super) fn many<T>(&mut self, name: &str) -> Result<Vec<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        let taken = self.0.extract_if(.., |(given, _)| given == name);
        let values = taken.map(|(_, value)| {
            value
                .parse()
                .map_err(|e: T::Err| Problem::bad_request(format!("the parameter `{name}` is wrong: {e}")))
        });
        values.collect()
    }

    /// Reads `wait`: 0 to 60 seconds, of which at most 55 are held; zero by default.
    pub(super) fn wait(&mut self) -> Result<Duration, Problem> {
        Ok(self.given_wait()?.unwrap_or_default())
    }

    /// Reads `wait`; `None` if it is absent.
    pub(super) fn given_wait(&mut self) -> Result<Option<Duration>, Problem> {
        Ok(self.one::<Wait>("wait")?.map(|wait| wait.0.min(MAX_HOLD)))
    }

    /// Reads a time. Times beyond the largest that can be represented are that one.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        Ok(self.one::<Time>(name)?.map(|time| time.0))
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_request(format!("there is no parameter `{name}` here"))),
        }
    }
}

struct Wait(Duration);

impl FromStr for Wait {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= 60);
        let seconds =
            seconds.ok_or_else(|| Invalid::new("a wait is a whole number of seconds from 0 to 60"))?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

struct Time(Timestamp);

impl FromStr for Time {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse_time(text).map(Self)
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let bad = || Problem::bad_request("the query is not valid percent-encoded UTF-8");
    let spaced = text.replace('+', " ");
    let mut after_percent = spaced.split('%');
    after_percent.next();
    if after_percent
        .any(|rest| !rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
    {
        return Err(bad());
    }
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| bad())?;
    Ok(decoded.into_owned())
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// A query without parameters; any parameter is refused.
#[derive(Debug)]
pub(super) struct NoParams;

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Params::from_request_parts(parts, state).await?.finish()?;
        Ok(Self)
    }
}

/// Parameter of a path such as `/v1/events/{id}`. A malformed id is 404.
#[derive(Debug)]
pub(super) struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|e| Problem::not_found(e.body_text()))?;
        let value = params.iter().next().map(|(_, value)| value.parse());
        match value {
            Some(Ok(id)) => Ok(Self(id)),
            Some(Err(e)) => Err(Problem::not_found(format!("nothing has this name: {e}"))),
            None => Err(Problem::internal()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn reads_once_many_and_nothing_else() {
        let mut params = Params::parse("limit=5&type=a&type=b+c%21").unwrap();
        assert_eq!(params.one::<u8>("limit").unwrap(), Some(5));
        assert_eq!(params.many::<String>("type").unwrap(), ["a", "b c!"]);
        assert_eq!(params.one::<u8>("after").unwrap(), None);
        params.finish().unwrap();
    }

    #[rstest::rstest]
    fn what_cannot_be_meant_is_refused(
        #[values(
            "limit=%zz",
            "limit=%",
            "limit=%4",
            "limit=%ff",
            "limit=x",
            "limit=",
            "limit",
            "limit=1&limit=2",
            "other=1"
        )]
        query: &str,
    ) {
        let outcome = Params::parse(query).and_then(|mut params| {
            params.one::<u8>("limit")?;
            params.finish()
        });
        assert!(outcome.is_err(), "{query}");
    }
}
