//! Headers that an endpoint wants in each of its requests; their values are secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::Invalid;

/// Additional headers of an endpoint. Their values are secrets: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

/// Maximum number of headers.
const MAX_HEADERS: usize = 32;

/// Maximum length of a value in bytes.
const MAX_HEADER_VALUE: usize = 4096;

/// Text in the place of a value.
const MASK: &str = "***";

/// Headers that the HTTP library, the signature or the format sets.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Headers {
    /// Headers by their names.
    pub fn new(given: impl IntoIterator<Item = (String, SecretString)>) -> Result<Self, Invalid> {
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let name = HeaderName::from_str(&name)
                .map_err(|_| Invalid::new(format_args!("`{name}` is not a header's name")))?;
            let shown = name.as_str();
            if RESERVED.contains(&shown) || shown.starts_with("webhook-") || shown.starts_with("remgate-") {
                return Err(Invalid::new(format_args!("the header `{shown}` is not for endpoints to set")));
            }
            let value = value.expose_secret();
            if value == MASK {
                return Err(Invalid::new(format_args!(
                    "`{MASK}` is only shown in place of a value; give the value of the header `{shown}` itself"
                )));
            }
            if value.len() > MAX_HEADER_VALUE || HeaderValue::from_str(value).is_err() {
                return Err(Invalid::new(format_args!(
                    "the value of the header `{shown}` is at most {MAX_HEADER_VALUE} visible ASCII characters"
                )));
            }
            if headers.insert(shown.to_owned(), value.to_owned()).is_some() {
                return Err(Invalid::new(format_args!("the header `{shown}` is given more than once")));
            }
        }
        Self(headers).bounded()
    }

    /// Returns these headers with others merged over them: a value replaces the old one, `None` removes the header,
    /// and `***`, the text that is shown for a value, leaves it unchanged.
    pub fn merged(
        &self,
        changes: impl IntoIterator<Item = (String, Option<SecretString>)>,
    ) -> Result<Self, Invalid> {
        let mut merged = self.0.clone();
        let mut set = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, value) in changes {
            let plain = name.to_ascii_lowercase();
            if !seen.insert(plain.clone()) {
                return Err(Invalid::new(format_args!("the header `{plain}` is given more than once")));
            }
            match value {
                None => drop(merged.remove(&plain)),
                Some(value) if value.expose_secret() == MASK && merged.contains_key(&plain) => {}
                Some(value) => set.push((name, value)),
            }
        }
        merged.extend(Self::new(set)?.0);
        Self(merged).bounded()
    }

    fn bounded(self) -> Result<Self, Invalid> {
        if self.0.len() > MAX_HEADERS {
            return Err(Invalid::new(format_args!("an endpoint has at most {MAX_HEADERS} headers")));
        }
        Ok(self)
    }

    /// Returns the names with `***` in place of each value, for people.
    #[must_use]
    pub fn masked(&self) -> BTreeMap<&str, &'static str> {
        self.names().map(|name| (name, MASK)).collect()
    }

    /// Returns the names in lower case, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns names and values, for the request; the values are marked as secret.
    pub fn for_request(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_str(name).ok()?;
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
    }

    /// Returns the headers as JSON, for the store.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        serde_json::to_string(&self.0).expect("texts become JSON").into()
    }

    /// From what [`Headers::reveal`] gave.
    pub fn from_revealed(text: &str) -> Result<Self, Invalid> {
        serde_json::from_str(text).map(Self).map_err(|_| Invalid::new("headers are a JSON object of texts"))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.masked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str, value: &str) -> Result<Headers, Invalid> {
        Headers::new([(name.to_owned(), value.into())])
    }

    #[test]
    fn headers_keep_their_values_to_themselves() {
        let headers = headers("X-Api-Key", "planted").unwrap();
        assert_eq!(format!("{headers:?}"), r#"{"x-api-key": "***"}"#);
        let (_, value) = headers.for_request().next().unwrap();
        assert!(value.is_sensitive());
        assert_eq!(Headers::from_revealed(headers.reveal().expose_secret()).unwrap(), headers);
    }

    #[test]
    fn merged_headers_are_set_removed_or_left_as_they_are() {
        let given = [("x-a", "1"), ("x-b", "2")].map(|(name, value)| (name.to_owned(), value.into()));
        let headers = Headers::new(given).unwrap();
        let change = |name: &str, value: Option<&str>| (name.to_owned(), value.map(Into::into));
        let merged = headers.merged([
            change("X-A", Some("***")),
            change("x-b", None),
            change("x-c", Some("3")),
            change("x-d", None),
        ]);
        let merged = merged.unwrap().reveal();
        assert_eq!(merged.expose_secret(), r#"{"x-a":"1","x-c":"3"}"#);
        assert!(headers.merged([change("x-c", Some("***"))]).is_err(), "there is no value to keep");
        assert!(headers.merged([change("x-c", Some("3")), change("X-C", None)]).is_err());
        let many = (0..MAX_HEADERS).map(|n| (format!("x-{n}"), Some("1".into())));
        assert!(headers.merged(many).is_err());
    }

    #[rstest::rstest]
    #[case("host", "a")]
    #[case("x-a", "***")]
    #[case("Content-Type", "text/plain")]
    #[case("Webhook-Id", "a")]
    #[case("remgate-replay", "a")]
    #[case("a b", "c")]
    #[case("", "c")]
    #[case("x-a", "planted\r\nx-b: c")]
    fn headers_that_are_refused(#[case] name: &str, #[case] value: &str) {
        assert!(!headers(name, value).unwrap_err().to_string().contains("planted"));
    }
}
