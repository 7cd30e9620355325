//! `verify`, through the binary: what is genuine, what is not, why, and what could not be checked.

use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use remgate::domain::{AsymmetricKey, Clock, RandomSource, SigningSecret, SystemClock};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use crate::config::{Place, Ran};
use crate::support::engine::both_engines;
use crate::support::receiver::Receiver;
use crate::support::service::{Service, delivery, endpoint, uaid};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &str = r#"{"type":"remauth.authenticated","data":{"n":"a b"}}"#;

/// The vector that the specification publishes.
const VECTOR: [&str; 6] = [
    "--id",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "--timestamp",
    "1614265330",
    "--signature",
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
];

fn now() -> i64 {
    SystemClock.now().as_second()
}

fn sign(secret: &str, at: i64, body: &str) -> String {
    secret.parse::<SigningSecret>().unwrap().sign("evt_1", at, body.as_bytes())
}

fn headers(at: i64, signature: &str) -> String {
    format!("POST / HTTP/1.1\nwebhook-id: evt_1\nwebhook-timestamp: {at}\nwebhook-signature: {signature}\n")
}

/// A folder with a secret, a body, and headers that were signed with the secret now.
fn place() -> Place {
    let place = Place::with(&format!(
        "{}{}{}",
        endpoint("crm", "https://crm.example/", ""),
        "\n[[endpoint]]\nname = \"shop\"\nurl = \"https://shop.example/\"\n",
        format_args!("secret = \"{OTHER}\"\n")
    ));
    place.write("secret", &format!("{SECRET}\n"));
    place.write("body", BODY);
    place.write("headers", &headers(now(), &sign(SECRET, now(), BODY)));
    place
}

fn verify(place: &Place, flags: &[&str]) -> Ran {
    place.run(&[&["verify"], flags].concat())
}

/// With something on standard input.
fn verify_fed(place: &Place, flags: &[&str], fed: &str) -> Ran {
    let mut command = place.command(&[&["verify"], flags].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary is there");
    child.stdin.take().expect("it is piped").write_all(fed.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn assert_genuine(ran: &Ran, with: &str) {
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("genuine: ") && ran.out.contains(with), "{}", ran.out);
}

fn assert_not(ran: &Ran, code: i32, said: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{}", ran.err);
    assert!(ran.err.contains(said), "{said:?} is not in {}", ran.err);
    assert!(!ran.err.contains("MfKQ9r8"), "{}", ran.err);
}

#[test]
fn the_published_vector_from_flags_and_standard_input() {
    let place = place();
    let body = r#"{"test": 2432232314}"#;
    let flags = [&["--secret-file", "secret", "--tolerance", "none"], &VECTOR[..]].concat();
    assert_genuine(&verify_fed(&place, &flags, body), "2021-02-25T15:02:10Z with the secret of secret");
    assert_not(&verify_fed(&place, &flags, &body.replace('3', "4")), 1, "no signature fits");
    let flags = [&["--secret-file", "secret"], &VECTOR[..]].concat();
    assert_not(&verify_fed(&place, &flags, body), 1, "old, too old by");
}

#[test]
fn a_secret_from_a_file_from_standard_input_and_from_the_configuration() {
    let place = place();
    let rest = ["--headers", "headers", "--body", "body"];
    let with = |flags: &[&'static str]| verify(&place, &[flags, &rest].concat());
    assert_genuine(&with(&["--secret-file", "secret"]), "the secret of secret");
    assert_genuine(&with(&["--endpoint", "crm"]), "the secret of the endpoint crm");
    let fed = verify_fed(&place, &[&["--secret-stdin"], &rest[..]].concat(), &format!("{OTHER}\n{SECRET}\n"));
    assert_genuine(&fed, "the secret of standard input, number 2");
    assert_not(&with(&["--endpoint", "shop"]), 1, "it is signed with the secret of the endpoint crm");
}

#[test]
fn any_of_several_signatures_will_do() {
    let place = place();
    let both = format!("v1a,AAAA {} {}", sign(OTHER, now(), BODY), sign(SECRET, now(), BODY));
    place.write("headers", &headers(now(), &both));
    let ran = verify(&place, &["--secret-file", "secret", "--headers", "headers", "--body", "body"]);
    assert_genuine(&ran, "the secret of secret");
}

#[test]
fn a_public_key_checks_v1a() {
    let place = place();
    let key = AsymmetricKey::generate(&RandomSource::seeded(1));
    let other = AsymmetricKey::generate(&RandomSource::seeded(2)).public().to_string();
    let signature = key.sign("evt_1", now(), BODY.as_bytes());
    place.write("headers", &headers(now(), &signature));
    let with = |key: &str| verify(&place, &["--public-key", key, "--headers", "headers", "--body", "body"]);
    let public = key.public().to_string();
    assert_genuine(&with(&public), &format!("the key {public}"));
    assert_not(&with(&other), 1, "no signature fits");
    let ran = verify(&place, &["--secret-file", "secret", "--headers", "headers", "--body", "body"]);
    assert_not(&ran, 1, "`v1a` a public key");
    place.write(
        "remgate.toml",
        &endpoint(
            "keyed",
            "https://a.example/",
            &format!("signing_key = \"{}\"", key.reveal().expose_secret()),
        ),
    );
    let ran = verify(&place, &["--endpoint", "keyed", "--headers", "headers", "--body", "body"]);
    assert_genuine(&ran, "the key of the endpoint keyed");
}

#[rstest]
#[case(-299, None, 0)]
#[case(299, None, 0)]
#[case(-400, None, 1)]
#[case(400, None, 1)]
#[case(-400, Some("10m"), 0)]
#[case(-90_000, Some("none"), 0)]
#[case(-60, Some("30s"), 1)]
fn the_timestamp_may_be_off_by_so_much(#[case] by: i64, #[case] tolerance: Option<&str>, #[case] code: i32) {
    let place = place();
    let at = now() + by;
    place.write("headers", &headers(at, &sign(SECRET, at, BODY)));
    let mut flags = vec!["--secret-file", "secret", "--headers", "headers", "--body", "body"];
    flags.extend(tolerance.into_iter().flat_map(|item| ["--tolerance", item]));
    let ran = verify(&place, &flags);
    assert_eq!(ran.code, code, "{}", ran.err);
    if code == 1 {
        let word = if by < 0 { "old, too old by" } else { "in the future, too early by" };
        assert!(ran.err.contains(word) && !ran.err.contains("no signature fits"), "{}", ran.err);
    }
}

/// Changes of a body between its arrival and the file that is verified.
#[rstest]
#[case(&format!("{BODY}\n"), "without the white space at the end")]
#[case(&format!("\u{feff}{BODY}"), "byte order mark")]
#[case(&BODY.replace(':', ": "), "without white space between")]
#[case(&BODY.replace("a b", "a  b"), "went through a JSON parser")]
#[case("no JSON", "signed with another secret, or the body")]
fn what_may_be_wrong_is_told(#[case] body: &str, #[case] hint: &str) {
    let place = place();
    place.write("body", body);
    let ran = verify(&place, &["--secret-file", "secret", "--headers", "headers", "--body", "body"]);
    assert_not(&ran, 1, hint);
}

#[test]
fn what_could_not_be_checked_is_told_from_what_is_not_genuine() {
    let place = place();
    let secret = ["--secret-file", "secret"];
    let rest = ["--headers", "headers", "--body", "body"];
    let cases: &[(&[&str], &str)] = &[
        (&rest, "say what to check with: --endpoint"),
        (&["--secret-file", "nowhere"], "failed to read nowhere"),
        (&["--secret-file", "body"], "the secret of body: "),
        (&["--secret-file", "/dev/null"], "there is none"),
        (&["--endpoint", "nobody"], "declares no endpoint nobody (it declares crm, shop)"),
        (&["--public-key", "whpk_x"], "a public key is `whpk_`"),
        (&["--secret-stdin", "--headers", "headers"], "give the body with --body FILE"),
        (&[&secret[..], &["--headers", "nowhere"]].concat(), "failed to read nowhere"),
        (&[&secret[..], &["--headers", "headers", "--body", "nowhere"]].concat(), "failed to read nowhere"),
        (
            &[&secret[..], &["--id", "evt_1", "--timestamp", "1"]].concat(),
            "give --signature, or --headers FILE",
        ),
        (&[&secret[..], &rest, &["--tolerance", "soon"]].concat(), "or `none`"),
    ];
    for (flags, said) in cases {
        assert_not(&verify(&place, flags), 2, said);
    }
    place.write("headers", "no header here\n");
    let ran = verify(&place, &[&secret[..], &rest].concat());
    assert_not(&ran, 1, "the id is empty");
}

#[test]
fn a_program_reads_one_object() {
    let place = place();
    let flags = ["--secret-file", "secret", "--headers", "headers", "--body", "body", "--json"];
    let ran = verify(&place, &flags);
    let mut told: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(told["age_seconds"].take().as_i64().unwrap() < 60 && told["signed_at"].take().is_string());
    let expected = json!({"genuine": true, "id": "evt_1", "signed_at": null, "age_seconds": null,
                          "signed_with": "the secret of secret"});
    assert_eq!((ran.code, told), (0, expected));
    place.write("body", "[]");
    let ran = verify(&place, &flags);
    let told: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &told["genuine"], &told["faults"][0]["fault"]),
        (1, &json!(false), &json!("no_fit"))
    );
    assert_eq!(told["hints"].as_array().unwrap().len(), 2);
}

both_engines! {
    async fn a_real_delivery_as_its_receiver_logged_it(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let key = format!("whsk_{}", STANDARD.encode([7; 32]));
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), &format!("signing_key = \"{key}\""));
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        let got = receiver.next().await;
        let lines: String = got.headers.iter().flat_map(|(name, value)| [name.as_str(), ": ", value.to_str().unwrap(), "\n"]).collect();
        let place = Place::with(&config);
        place.write("headers", &lines);
        place.write("body", std::str::from_utf8(&got.body).unwrap());
        let ran = verify(&place, &["--endpoint", "crm", "--headers", "headers", "--body", "body"]);
        assert_genuine(&ran, got.header("webhook-id"));
        let public = service.internal.get("/v1/endpoints").await.json()["data"][0]["public_key"].as_str().unwrap().to_owned();
        assert_genuine(&verify(&place, &["--public-key", &public, "--headers", "headers", "--body", "body"]), &public);
    }
}
