//! One `[[endpoint]]`.

use super::reader::{Bad, TableReader};
use super::rules;
use crate::domain::{
    AsymmetricKey, EndpointName, EndpointSettings, EndpointUrl, EventType, Format, Headers, HumanDuration,
    Invalid, MaxInFlight, Schedule, Sending, SigningSecret,
};

/// Reads the settings of one `[[endpoint]]` table. Without `services` every valid service name is accepted.
pub(super) fn settings(r: &mut TableReader<'_>, services: Option<&[&str]>) -> Result<EndpointSettings, Bad> {
    let all_types: Vec<_> =
        EventType::ALL.iter().map(|event_type| (event_type.as_str(), *event_type)).collect();
    let all_formats: Vec<_> = Format::ALL.iter().map(|format| (format.as_str(), *format)).collect();
    let name = r.required("name", rules::domain::<EndpointName>);
    let url = r.required("url", rules::domain::<EndpointUrl>);
    let secret = r.required("secret", |text| text.parse::<SigningSecret>().map_err(|_| String::new()));
    let types = r.list("types", |text| rules::one_of(text, &all_types));
    let services = r.list("services", |text| rules::service(text, services));
    let format = r.required("format", |text| rules::one_of(text, &all_formats));
    let expected_only = r.switch("expected_only");
    let sending = sending(r);
    Ok(EndpointSettings {
        name: name?,
        url: url?,
        secret: secret?,
        types: types?,
        services: services?,
        format: format?,
        expected_only: expected_only?,
        sending: sending?,
    })
}

fn sending(r: &mut TableReader<'_>) -> Result<Sending, Bad> {
    let headers = headers(r);
    let schedule = schedule(r);
    let timeout = r.optional("timeout", |text| {
        rules::timeout(text)
            .and_then(|length| HumanDuration(length).try_into().map_err(|e: Invalid| e.to_string()))
    });
    let max_in_flight = r.optional_number("max_in_flight", &(1..=10_000));
    let rate_limit = r.optional("rate_limit", |text| text.parse().map_err(|_| String::new()));
    let signing_key =
        r.optional("signing_key", |text| text.parse::<AsymmetricKey>().map_err(|_| String::new()));
    let max_in_flight =
        max_in_flight?.and_then(|number| MaxInFlight::try_from(u32::try_from(number).ok()?).ok());
    Ok(Sending {
        headers: headers?,
        schedule: schedule?,
        timeout: timeout?,
        max_in_flight,
        rate_limit: rate_limit?,
        signing_key: signing_key?,
    })
}

fn headers(r: &mut TableReader<'_>) -> Result<Headers, Bad> {
    let given = r.texts("headers")?;
    // The domain's words name the header and never repeat its value.
    Headers::new(given.iter().map(|(name, text)| (name.clone(), text.as_str().into()))).map_err(|why| {
        r.note("headers", why.to_string());
        Bad
    })
}

/// Left out it is the common one; empty it is one attempt only.
fn schedule(r: &mut TableReader<'_>) -> Result<Option<Schedule>, Bad> {
    if !r.table.values.contains_key("schedule") {
        return Ok(None);
    }
    r.schedule().map(Some)
}
