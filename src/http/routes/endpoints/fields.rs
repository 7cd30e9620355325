//! Fields of an endpoint in requests.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::{
    AsymmetricKey, AttemptTimeout, EndpointChange, EndpointName, EndpointSettings, EndpointUrl, EventType,
    FieldPatch, Format, MaxInFlight, RandomSource, RateLimit, Schedule, Sending, ServiceName, SigningSecret,
};
use crate::http::problem::Problem;

/// Fields of a request. An absent field and `null` have different meanings.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct EndpointFields {
    name: FieldPatch<EndpointName>,
    url: FieldPatch<EndpointUrl>,
    secret: FieldPatch<SigningSecret>,
    types: FieldPatch<Vec<EventType>>,
    services: FieldPatch<Vec<ServiceName>>,
    format: FieldPatch<Format>,
    expected_only: FieldPatch<bool>,
    headers: FieldPatch<BTreeMap<String, Option<SecretString>>>,
    schedule: FieldPatch<Schedule>,
    timeout: FieldPatch<AttemptTimeout>,
    max_in_flight: FieldPatch<MaxInFlight>,
    rate_limit: FieldPatch<RateLimit>,
    asymmetric: FieldPatch<bool>,
}

impl EndpointFields {
    /// Returns the settings of a new endpoint. Only the URL is required.
    pub(super) fn settings(
        mut self,
        services: &[ServiceName],
        rng: &RandomSource,
    ) -> Result<EndpointSettings, Problem> {
        let FieldPatch::Set(url) = std::mem::take(&mut self.url) else { return Err(no_url()) };
        let secret = match std::mem::take(&mut self.secret) {
            FieldPatch::Set(secret) => secret,
            FieldPatch::Keep | FieldPatch::Reset => SigningSecret::generate(rng),
        };
        let mut settings = EndpointSettings {
            name: generated(rng),
            url,
            secret,
            types: Vec::new(),
            services: Vec::new(),
            format: Format::Standard,
            expected_only: false,
            sending: Sending::default(),
        };
        let wanted = self.change(services, rng)?;
        settings.change(&wanted).map_err(|why| Problem::unprocessable(why.to_string()))?;
        Ok(settings)
    }

    /// Changes of an endpoint.
    pub(super) fn change(
        self,
        services: &[ServiceName],
        rng: &RandomSource,
    ) -> Result<EndpointChange, Problem> {
        if !matches!(self.secret, FieldPatch::Keep) {
            return Err(Problem::unprocessable("the secret is changed by POST to `secret/rotate`"));
        }
        let url = match self.url {
            FieldPatch::Keep => None,
            FieldPatch::Reset => return Err(no_url()),
            FieldPatch::Set(url) => Some(url),
        };
        let services = match self.services.or_default(Vec::new) {
            Some(named) => Some(known(named, services)?),
            None => None,
        };
        Ok(EndpointChange {
            name: self.name.or_default(|| generated(rng)),
            url,
            types: self.types.or_default(Vec::new).map(distinct),
            services,
            format: self.format.or_default(|| Format::Standard),
            expected_only: self.expected_only.or_default(|| false),
            headers: self.headers.map(|headers| headers.into_iter().collect()),
            schedule: self.schedule,
            timeout: self.timeout,
            max_in_flight: self.max_in_flight,
            rate_limit: self.rate_limit,
            signing_key: match self.asymmetric {
                FieldPatch::Keep => FieldPatch::Keep,
                FieldPatch::Reset | FieldPatch::Set(false) => FieldPatch::Reset,
                FieldPatch::Set(true) => FieldPatch::Set(AsymmetricKey::generate(rng)),
            },
        })
    }
}

fn no_url() -> Problem {
    Problem::unprocessable("an endpoint needs a `url`")
}

/// Generated, unique name.
fn generated(rng: &RandomSource) -> EndpointName {
    let number = u64::from_le_bytes(rng.bytes()) >> 16;
    EndpointName::try_from(format!("endpoint-{number:012x}")).expect("letters and digits are a name")
}

/// Services that there are.
fn known(named: Vec<ServiceName>, services: &[ServiceName]) -> Result<Vec<ServiceName>, Problem> {
    if named.iter().all(|name| services.contains(name)) {
        return Ok(distinct(named));
    }
    let all: Vec<_> = services.iter().map(ServiceName::as_str).collect();
    Err(Problem::unprocessable(format!(
        "`services` names one that is not configured; there are {}",
        all.join(", ")
    )))
}

/// Returns each value once, in the order given.
fn distinct<T: PartialEq>(given: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(given.len());
    for item in given {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(body: &str) -> EndpointChange {
        let fields: EndpointFields = serde_json::from_str(body).unwrap();
        fields.change(&[ServiceName::default_service()], &RandomSource::seeded(1)).unwrap()
    }

    #[test]
    fn absent_is_not_null() {
        let nothing = change("{}");
        assert!(nothing.name.is_none() && nothing.types.is_none());
        assert_eq!(nothing.schedule, FieldPatch::Keep);
        assert!(matches!((nothing.headers, nothing.signing_key), (FieldPatch::Keep, FieldPatch::Keep)));
        let defaults =
            change(r#"{"name":null,"types":null,"schedule":null,"headers":null,"asymmetric":null}"#);
        assert!(defaults.name.unwrap().as_str().starts_with("endpoint-"));
        assert_eq!(defaults.types, Some(Vec::new()));
        assert_eq!(defaults.schedule, FieldPatch::Reset);
        assert!(matches!((defaults.headers, defaults.signing_key), (FieldPatch::Reset, FieldPatch::Reset)));
    }

    #[rstest::rstest]
    fn what_is_refused(
        #[values(
            r#"{"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#,
            r#"{"secret":null}"#,
            r#"{"url":null}"#,
            r#"{"services":["elsewhere"]}"#
        )]
        body: &str,
    ) {
        let fields: EndpointFields = serde_json::from_str(body).unwrap();
        let refused =
            fields.change(&[ServiceName::default_service()], &RandomSource::seeded(1)).err().unwrap();
        assert_eq!(refused.status().as_u16(), 422);
    }
}
