//! The verifier against the published vectors, against the reference library, and against what goes wrong in life.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::domain::{AsymmetricKey, RandomSource};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret(text: &str) -> Known {
    Known::Secret(text.parse().unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn verifier(known: Vec<Known>) -> Verifier {
    Verifier::new(known, Some(Verifier::TOLERANCE))
}

fn signed<'a>(timestamp: &'a str, signature: &'a str) -> Signed<'a> {
    Signed { id: ID, timestamp, signature, body: BODY }
}

#[rstest::rstest]
#[case(SECRET, ID, AT, BODY, SIGNATURE)]
#[case(
    OTHER,
    "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
    1_649_367_553,
    br#"{"email":"test@example.com","username":"test_user"}"#,
    "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
)]
fn published_vectors(
    #[case] known: &str,
    #[case] id: &str,
    #[case] time: i64,
    #[case] body: &[u8],
    #[case] signature: &str,
) {
    let timestamp = time.to_string();
    let request = Signed { id, timestamp: &timestamp, signature, body };
    let verified = verifier(vec![secret(known)]).verify(&request, at(time)).unwrap();
    assert_eq!(verified, Verified { at: at(time), by: 0 });
    let tampered = Signed { body: &body[1..], ..request };
    assert_eq!(
        verifier(vec![secret(known)]).verify(&tampered, at(time)),
        Err(Unverified(vec![Fault::Misfit]))
    );
}

#[rstest::rstest]
#[case(0, &[])]
#[case(300, &[])]
#[case(-300, &[])]
#[case(301, &["too_old"])]
#[case(-301, &["from_the_future"])]
fn a_timestamp_may_be_five_minutes_off(#[case] later: i64, #[case] faults: &[&str]) {
    let timestamp = AT.to_string();
    let seen = verifier(vec![secret(SECRET)]).verify(&signed(&timestamp, SIGNATURE), at(AT + later));
    let names: Vec<_> = seen.err().map_or_else(Vec::new, |e| e.0.iter().map(|fault| fault.name()).collect());
    assert_eq!(names, faults);
    let unlimited = Verifier::new(vec![secret(SECRET)], None);
    assert!(unlimited.verify(&signed(&timestamp, SIGNATURE), at(AT + later * 1000)).is_ok());
}

#[test]
fn how_late_and_how_early_is_told() {
    let said = |later: i64| {
        let timestamp = AT.to_string();
        let seen = verifier(vec![secret(SECRET)]).verify(&signed(&timestamp, "v1,AAAA"), at(AT + later));
        seen.unwrap_err().to_string()
    };
    assert_eq!(said(724), "no signature fits; the timestamp is 12m 4s old, too old by 7m 4s");
    assert!(said(-724).contains("12m 4s in the future, too early by 7m 4s"));
}

#[rstest::rstest]
#[case("", "no_signature")]
#[case("v1", "no_signature")]
#[case("v2,AAAA", "no_signature")]
#[case("v1,not/base64!", "no_signature")]
#[case("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "no_signature")]
#[case("v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "other_kind")]
#[case("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=", "no_fit")]
#[case("v1,g0hM", "no_fit")]
fn what_is_no_signature_of_ours(#[case] signature: &str, #[case] fault: &str) {
    let timestamp = AT.to_string();
    let seen = verifier(vec![secret(SECRET)]).verify(&signed(&timestamp, signature), at(AT));
    assert_eq!(seen.unwrap_err().0.iter().map(|fault| fault.name()).collect::<Vec<_>>(), [fault]);
}

#[rstest::rstest]
fn only_the_timestamp_that_was_signed_is_one(
    #[values("", "now", "+1614265330", "01614265330", "1614265330.0", " 1614265330", "99999999999999999")]
    timestamp: &str,
) {
    let seen = Verifier::new(vec![secret(SECRET)], None).verify(&signed(timestamp, SIGNATURE), at(AT));
    assert_eq!(seen, Err(Unverified(vec![Fault::Timestamp])));
}

#[rstest::rstest]
fn an_id_ends_where_it_ends(#[values("", "msg_1.1", ".")] id: &str) {
    let ours: SigningSecret = SECRET.parse().unwrap();
    let timestamp = AT.to_string();
    let signature = ours.sign(id, AT, BODY);
    let request = Signed { id, timestamp: &timestamp, signature: &signature, body: BODY };
    assert_eq!(
        verifier(vec![secret(SECRET)]).verify(&request, at(AT)),
        Err(Unverified(vec![Fault::Id])),
        "although the signature fits"
    );
}

#[test]
fn any_signature_and_any_secret_will_do_and_the_answer_says_which() {
    let key = AsymmetricKey::generate(&RandomSource::seeded(1));
    let other_key = AsymmetricKey::generate(&RandomSource::seeded(2));
    let other: SigningSecret = OTHER.parse().unwrap();
    let timestamp = AT.to_string();
    let all = format!("{} {SIGNATURE} v9,x {}", other.sign(ID, AT, BODY), key.sign(ID, AT, BODY));
    let request = signed(&timestamp, &all);
    for (known, by) in [
        (vec![secret(SECRET)], Some(0)),
        (vec![secret(OTHER)], Some(0)),
        (vec![secret("whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"), secret(SECRET)], Some(1)),
        (vec![Known::Key(key.public())], Some(0)),
        (vec![Known::Key(other_key.public())], None),
        (vec![Known::Key(other_key.public()), secret(OTHER)], Some(1)),
        (vec![], None),
    ] {
        assert_eq!(verifier(known).verify(&request, at(AT)).ok().map(|verified| verified.by), by);
    }
}

/// Change of a request on its way.
#[derive(Debug, Clone)]
enum Change {
    Nothing,
    Id(String),
    Body(String),
    Secret([u8; 24]),
    Later(i64),
    Signature(String),
    Beside(String),
    Kind,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Nothing),
        "[a-z_]{1,20}".prop_map(Change::Id),
        ".{0,40}".prop_map(Change::Body),
        any::<[u8; 24]>().prop_map(Change::Secret),
        (-3i64..3).prop_map(Change::Later),
        "v1,[A-Za-z0-9+/]{43}=".prop_map(Change::Signature),
        "[a-z0-9]{1,3},[A-Za-z0-9+/]{43}=".prop_map(Change::Beside),
        Just(Change::Kind),
    ]
}

proptest! {
    /// Whatever happens to a request, the library of the specification's authors thinks of it as we do.
    #[test]
    fn the_reference_library_agrees(
        bytes in prop::collection::vec(any::<u8>(), 24..=64),
        id in "[A-Za-z0-9_-]{1,40}",
        body in ".{0,200}",
        off in prop_oneof![-290i64..290, 310i64..900, -900i64..-310],
        change in change(),
    ) {
        #[expect(clippy::disallowed_methods, reason = "the library compares with the machine's own time")]
        let now = Timestamp::now();
        let ours: SigningSecret = format!("whsec_{}", STANDARD.encode(bytes)).parse().unwrap();
        let time = now.as_second() + off;
        let mut id = id.clone();
        let mut time_said = time;
        let mut body_said = body.clone();
        let mut known = ours.clone();
        let mut signature = ours.sign(&id, time, body.as_bytes());
        match change {
            Change::Nothing => {}
            Change::Id(other) => id = other,
            Change::Body(other) => body_said = other,
            Change::Secret(other) => known = format!("whsec_{}", STANDARD.encode(other)).parse().unwrap(),
            Change::Later(seconds) => time_said += seconds,
            Change::Signature(other) => signature = other,
            Change::Beside(other) => signature = format!("{other} {signature}"),
            Change::Kind => signature = signature.replacen("v1,", "v1a,", 1),
        }
        let timestamp = time_said.to_string();
        let oracle = standardwebhooks::Webhook::new(known.reveal().expose_secret()).unwrap();
        let headers: http::HeaderMap = [("webhook-id", &id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
            .into_iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let request = Signed { id: &id, timestamp: &timestamp, signature: &signature, body: body_said.as_bytes() };
        let seen = verifier(vec![Known::Secret(known)]).verify(&request, now);
        prop_assert_eq!(seen.is_ok(), oracle.verify(body_said.as_bytes(), &headers).is_ok(), "{:?}", seen);
    }

    #[test]
    fn nothing_makes_it_panic(id in ".{0,9}", timestamp in ".{0,22}", signature in "(v1a?,)?.{0,60}", body in ".{0,9}") {
        let key = AsymmetricKey::generate(&RandomSource::seeded(1)).public();
        let request = Signed { id: &id, timestamp: &timestamp, signature: &signature, body: body.as_bytes() };
        prop_assert!(verifier(vec![secret(SECRET), Known::Key(key)]).verify(&request, at(AT)).is_err());
    }
}
