//! Settings of an endpoint in its requests: headers, signatures, time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::receiver::{Heard, OK, Receiver};
use super::{LONG, endpoint, event, lease, local, sender};
use crate::domain::{
    AsymmetricKey, AttemptError, AttemptTimeout, Clock, Endpoint, Format, Headers, HumanDuration,
    PreviousSecret, RandomSource, SigningSecret, SystemClock,
};
use std::time::Duration;

/// Request of one attempt at a given time.
async fn arrives(at: Timestamp, prepare: impl FnOnce(&mut Endpoint)) -> Heard {
    let receiver = Receiver::answering(OK);
    let mut to = endpoint(&receiver.url(), Format::Standard);
    prepare(&mut to);
    let report = sender(local(), LONG).send(&to, &lease(event(), true), at).await;
    assert!(report.accepted(), "{}", report.response);
    receiver.heard()
}

fn headers(given: &[(&str, &str)]) -> Headers {
    Headers::new(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()))).unwrap()
}

#[tokio::test]
async fn own_headers_follow_ours_in_order() {
    let heard = arrives(SystemClock.now(), |to| {
        to.settings.sending.headers = headers(&[("X-Tenant", "7"), ("Authorization", "Bearer planted")]);
    })
    .await;
    let names: Vec<_> = heard.headers.keys().map(http::HeaderName::as_str).collect();
    let ours = [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "user-agent",
        "content-type",
        "remgate-replay",
        "authorization",
        "x-tenant",
        "accept",
        "host",
        "content-length",
    ];
    assert_eq!(names, ours);
    assert_eq!(heard.headers["authorization"], "Bearer planted");
    assert_eq!(heard.headers["x-tenant"], "7");
}

#[tokio::test]
async fn own_headers_replace_none_of_ours() {
    let heard = arrives(SystemClock.now(), |to| {
        to.settings.sending.headers = headers(&[("User-Agent", "another agent"), ("Accept", "text/plain")]);
    })
    .await;
    let all =
        |name| heard.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("user-agent"), [concat!("remgate/", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(all("accept"), ["text/plain"], "a default that an endpoint may replace");
}

fn verifies(heard: &Heard, secret: &SigningSecret) -> bool {
    let oracle = standardwebhooks::Webhook::new(secret.reveal().expose_secret()).unwrap();
    oracle.verify(&heard.body, &heard.headers).is_ok()
}

#[rstest::rstest]
#[case(-1, 1)]
#[case(0, 1)]
#[case(1, 2)]
#[case(86_400, 2)]
#[tokio::test]
async fn the_secret_before_the_last_rotation_signs_until_its_time(
    #[case] seconds_left: i64,
    #[case] count: usize,
) {
    let at = SystemClock.now();
    let previous = SigningSecret::generate(&RandomSource::seeded(77));
    let mut current = None;
    let heard = arrives(at, |to| {
        let until = at + jiff::SignedDuration::from_secs(seconds_left);
        to.previous_secret = Some(PreviousSecret { secret: previous.clone(), until });
        current = Some(to.settings.secret.clone());
    })
    .await;
    let current = current.unwrap();
    let signatures: Vec<_> = heard.headers["webhook-signature"].to_str().unwrap().split(' ').collect();
    assert_eq!(signatures.len(), count);
    let id = heard.headers["webhook-id"].to_str().unwrap();
    assert_eq!(signatures[0], current.sign(id, at.as_second(), &heard.body), "the newest comes first");
    assert!(verifies(&heard, &current));
    assert_eq!(verifies(&heard, &previous), count == 2);
    assert!(!verifies(&heard, &SigningSecret::generate(&RandomSource::seeded(78))));
}

#[tokio::test]
async fn a_key_signs_beside_both_secrets() {
    let at = SystemClock.now();
    let key = AsymmetricKey::generate(&RandomSource::seeded(9));
    let previous = SigningSecret::generate(&RandomSource::seeded(77));
    let heard = arrives(at, |to| {
        to.settings.sending.signing_key = Some(key.clone());
        to.previous_secret = Some(PreviousSecret { secret: previous.clone(), until: Timestamp::MAX });
    })
    .await;
    let signatures = heard.headers["webhook-signature"].to_str().unwrap();
    let kinds: Vec<_> = signatures.split(' ').map(|signature| signature.split_once(',').unwrap().0).collect();
    assert_eq!(kinds, ["v1", "v1", "v1a"]);
    assert!(verifies(&heard, &previous), "who does not know v1a is not disturbed");

    let bytes = |text: &str, prefix: &str| STANDARD.decode(text.strip_prefix(prefix).unwrap()).unwrap();
    let public: [u8; 32] = bytes(&key.public().to_string(), "whpk_").try_into().unwrap();
    let signature = signatures.split(' ').next_back().unwrap();
    let signature = Signature::from_slice(&bytes(signature, "v1a,")).unwrap();
    let signed = |name: &str| [heard.headers[name].as_bytes(), b"."].concat();
    let signed = [signed("webhook-id"), signed("webhook-timestamp"), heard.body.clone()].concat();
    VerifyingKey::from_bytes(&public).unwrap().verify_strict(&signed, &signature).unwrap();
}

#[tokio::test]
async fn an_endpoints_own_timeout_holds_instead_of_the_usual_one() {
    let receiver = Receiver::doing(|stream| {
        use std::io::Read;
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    let mut to = endpoint(&receiver.url(), Format::Standard);
    let own = HumanDuration(Duration::from_millis(50));
    to.settings.sending.timeout = Some(AttemptTimeout::try_from(own).unwrap());
    let report = sender(local(), LONG).send(&to, &lease(event(), false), SystemClock.now()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Timeout)));
    assert_eq!(report.response, "no answer within 50ms");
}
