//! The three formats, byte for byte.

use http::Method;

use super::{event, own_event, url};
use crate::domain::{Event, EventType, Format, Trust};
use crate::egress::{Rendered, UnsupportedEvent, render};

const DATA: &str = r#"{"id":"evt_0199c0ffee00700080000000000000aa","type":"remauth.authenticated","service":"portal","uaid":"b83ee873a9b44f2083c130db24dfbe91","trust":"token","source_ip":"203.0.113.9","received_at":"2026-11-22T21:04:05.120Z","expected":true,"subject":"j","state":{"cart":7}}"#;

const OWN_DATA: &str = r#"{"id":"evt_0199c0ffee00700080000000000000aa","type":"remgate.endpoint.disabled","service":null,"uaid":null,"trust":"self","source_ip":null,"received_at":"2026-11-22T21:04:05.120Z"}"#;

fn body(format: Format, event: &Event) -> String {
    let Rendered { method, url: to, content_type, body } =
        render(format, event, &url("https://a.example/hook?key=1")).unwrap();
    assert_eq!((method, to.as_str()), (Method::POST, "https://a.example/hook?key=1"));
    let expected = match format {
        Format::Standard => "application/json",
        _ => "application/cloudevents+json",
    };
    assert_eq!(content_type, Some(expected));
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn standard_webhooks() {
    let expected =
        format!(r#"{{"type":"remauth.authenticated","timestamp":"2026-11-22T21:04:05.120Z","data":{DATA}}}"#);
    assert_eq!(body(Format::Standard, &event()), expected);
    let expected = format!(
        r#"{{"type":"remgate.endpoint.disabled","timestamp":"2026-11-22T21:04:05.120Z","data":{OWN_DATA}}}"#
    );
    assert_eq!(body(Format::Standard, &own_event()), expected);
}

#[test]
fn cloud_events() {
    let expected = format!(
        r#"{{"specversion":"1.0","id":"evt_0199c0ffee00700080000000000000aa","source":"/remauth/portal","type":"remauth.authenticated","subject":"b83ee873a9b44f2083c130db24dfbe91","time":"2026-11-22T21:04:05.120Z","datacontenttype":"application/json","data":{DATA}}}"#
    );
    assert_eq!(body(Format::CloudEvents, &event()), expected);
}

#[test]
fn cloud_events_of_our_own_come_from_remgate() {
    let expected = format!(
        r#"{{"specversion":"1.0","id":"evt_0199c0ffee00700080000000000000aa","source":"/remgate","type":"remgate.endpoint.disabled","time":"2026-11-22T21:04:05.120Z","datacontenttype":"application/json","data":{OWN_DATA}}}"#
    );
    assert_eq!(body(Format::CloudEvents, &own_event()), expected);
    let expired = Event { event_type: EventType::Expired, trust: Trust::Own, source_ip: None, ..event() };
    assert!(
        body(Format::CloudEvents, &expired)
            .contains(r#""source":"/remgate","type":"remauth.expired","subject""#)
    );
}

#[rstest::rstest]
#[case("https://a.example", "https://a.example/?")]
#[case("https://a.example/cb", "https://a.example/cb?")]
#[case("https://a.example/cb?", "https://a.example/cb?")]
#[case("https://a.example/cb?token=a%20b+c", "https://a.example/cb?token=a%20b+c&")]
fn remauth_appends_its_parameter(#[case] own: &str, #[case] expected: &str) {
    for (event_type, parameter) in [
        (EventType::Authenticated, "authenticated"),
        (EventType::Registricated, "registricated"),
        (EventType::Subscribed, "subscribed"),
    ] {
        let rendered = render(Format::RemAuth, &Event { event_type, ..event() }, &url(own)).unwrap();
        assert_eq!((rendered.method, rendered.content_type), (Method::GET, None));
        assert_eq!(rendered.url.as_str(), format!("{expected}{parameter}=b83ee873a9b44f2083c130db24dfbe91"));
        assert!(rendered.body.is_empty());
    }
}

#[test]
fn remauth_has_no_word_for_anything_else() {
    for event_type in EventType::ALL.iter().copied().filter(|event_type| event_type.callback().is_none()) {
        let refused = render(Format::RemAuth, &Event { event_type, ..event() }, &url("https://a.example/"));
        assert_eq!(refused, Err(UnsupportedEvent(event_type)));
    }
}

#[test]
fn what_changes_later_is_not_in_it() {
    let later = Event { duplicates: 9, cursor: crate::domain::Cursor(77), ..event() };
    for format in Format::ALL {
        assert_eq!(render(*format, &event(), &url("http://a/")), render(*format, &later, &url("http://a/")));
    }
}
