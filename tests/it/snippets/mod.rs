//! The code of `docs/how-to/verify-webhooks.md`, run against a real remgate with the real libraries.

#[expect(unreachable_pub, reason = "the page shows it as it would be in another crate")]
mod verify;

use http::Method;
use remgate::domain::{AsymmetricKey, Clock, RandomSource, SigningSecret, SystemClock};
use serde_json::json;

use crate::endpoints::{at, make};
use crate::support::clients;
use crate::support::engine::Engine;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::receiver::{Received, Receiver};
use crate::support::service::{Service, delivery, uaid};

fn snippet(heading: &str, language: &str) -> String {
    clients::snippet("how-to/verify-webhooks.md", heading, language)
}

/// A way to verify that the page shows, and what it is given to verify with.
pub(crate) struct Variant {
    pub(crate) heading: &'static str,
    pub(crate) knows: Knows,
}

/// Settings that a receiver shares with the sender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    /// The secret of before the rotation.
    OldSecret,
    /// The secret of after it.
    NewSecret,
    /// The public half of the endpoint's key.
    Key,
}

/// An endpoint in the middle of a rotation, and one request that was really sent to it.
struct Scene {
    service: Service,
    path: String,
    old: String,
    new: String,
    public_key: String,
    captured: Received,
    _engine: Engine,
}

impl Scene {
    /// On one engine: what is sent is the same on both, and other tests hold that.
    async fn set() -> Self {
        let engine = Engine::sqlite();
        let mut receiver = Receiver::start().await;
        let service = Service::start(&engine, &delivery("")).await;
        let wanted = json!({"name": "crm", "url": receiver.url("/"), "asymmetric": true});
        let made = make(&service.internal, &wanted).await;
        let path = at(&made);
        let rotated =
            service.internal.post(&format!("{path}/secret/rotate"), &json!({})).await.expect(200).json();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        service.store(&uaid(1)).await;
        let captured = receiver.next().await;
        assert_eq!(captured.header("webhook-signature").split(' ').count(), 3, "new, old and v1a");
        let (old, new) = (text(&made["secret"]), text(&rotated["secret"]));
        Self { path, old, new, public_key: text(&made["public_key"]), captured, service, _engine: engine }
    }

    /// Lets remgate deliver to a receiver that runs a snippet, then sends forged requests.
    async fn act(&self, number: u64, knows: Knows, receiver: &Process) {
        let line = receiver.line(|line| line.starts_with("listening on port ")).await;
        let url = format!("http://127.0.0.1:{}/", line.rsplit(' ').next().expect("a port"));
        let moved = json!({"url": url});
        self.service.internal.request(Method::PATCH, &self.path, Some(&moved)).await.expect(200);
        let id = self.service.store(&uaid(number)).await;
        receiver.line(|line| *line == format!("handled {id} remauth.authenticated")).await;
        let client = Client::at(&url);
        for (what, request, status) in self.cases(knows) {
            let answer = client.send(Method::POST, "", |item| request.onto(item)).await;
            assert_eq!(answer.status, status, "{what}: {}", receiver.log());
        }
        let handled = format!("handled {}", self.captured.header("webhook-id"));
        let times = receiver.log().lines().filter(|line| line.starts_with(&handled)).count();
        assert_eq!(times, 1, "what comes again is not handled again: {}", receiver.log());
    }

    fn cases(&self, knows: Knows) -> Vec<(&'static str, Request, u16)> {
        let real = Request::of(&self.captured);
        let with = |change: &dyn Fn(&mut Request)| {
            let mut request = real.clone();
            change(&mut request);
            request
        };
        let (sent_at, now) = (real.timestamp.parse::<i64>().expect("seconds"), SystemClock.now().as_second());
        let signed = |at: i64| with(&|item| item.sign(self, knows, at));
        let mut cases = vec![
            ("as it was sent", real.clone(), 204),
            ("once more", real.clone(), 204),
            ("another body", with(&|item| item.body = item.body.replace("authenticated", "subscribed")), 401),
            ("a longer body", with(&|item| item.body.push('\n')), 401),
            ("another id", with(&|item| item.id.push('x')), 401),
            ("another time", with(&|item| item.timestamp = (sent_at - 1).to_string()), 401),
            ("no time", with(&|item| item.timestamp = "soon".to_owned()), 401),
            ("no signature", with(&|item| item.signature = String::new()), 401),
            ("a signature of nothing", with(&|item| item.signature = "v1,AAAA v1a,AAAA".to_owned()), 401),
            ("of a later kind", with(&|item| item.signature = format!("v2,AAAA {}", item.signature)), 204),
            ("signed with another secret", with(&|item| item.forge()), 401),
        ];
        // The test has the secrets, so that it can sign at other times; not the key.
        if knows != Knows::Key {
            cases.push(("four minutes old", signed(now - 240), 204));
            cases.push(("six minutes old", signed(now - 360), 401));
            cases.push(("six minutes early", signed(now + 360), 401));
        }
        cases
    }
}

/// A request to a receiver, to be changed.
#[derive(Clone)]
struct Request {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Request {
    fn of(received: &Received) -> Self {
        let text = |name| received.header(name).to_owned();
        let body = String::from_utf8(received.body.to_vec()).expect("it is JSON");
        Self {
            id: text("webhook-id"),
            timestamp: text("webhook-timestamp"),
            signature: text("webhook-signature"),
            body,
        }
    }

    /// Signed at another time by who may.
    fn sign(&mut self, scene: &Scene, knows: Knows, at: i64) {
        let secret = if knows == Knows::OldSecret { &scene.old } else { &scene.new };
        let secret: SigningSecret = secret.parse().expect("a secret");
        self.timestamp = at.to_string();
        self.signature = secret.sign(&self.id, at, self.body.as_bytes());
    }

    /// Signed by who may not.
    fn forge(&mut self) {
        let at = self.timestamp.parse().expect("seconds");
        let rng = RandomSource::seeded(1);
        let by_secret = SigningSecret::generate(&rng).sign(&self.id, at, self.body.as_bytes());
        let by_key = AsymmetricKey::generate(&rng).sign(&self.id, at, self.body.as_bytes());
        self.signature = format!("{by_secret} {by_key}");
    }

    fn onto(self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header("webhook-id", self.id).header("webhook-timestamp", self.timestamp);
        request.header("webhook-signature", self.signature).body(self.body)
    }
}

const PYTHON: [Variant; 4] = [
    Variant { heading: "Python, with standardwebhooks", knows: Knows::OldSecret },
    Variant { heading: "Python, with svix", knows: Knows::NewSecret },
    Variant { heading: "Python, by hand", knows: Knows::OldSecret },
    Variant { heading: "Python, with the public key", knows: Knows::Key },
];

const TYPESCRIPT: [Variant; 4] = [
    Variant { heading: "TypeScript, with standardwebhooks", knows: Knows::OldSecret },
    Variant { heading: "TypeScript, with svix", knows: Knows::NewSecret },
    Variant { heading: "TypeScript, by hand", knows: Knows::OldSecret },
    Variant { heading: "TypeScript, with the public key", knows: Knows::Key },
];

/// Request as the snippets take it.
fn environment(scene: &Scene, knows: Knows) -> (&'static str, &str) {
    match knows {
        Knows::OldSecret => ("REMGATE_SECRET", &scene.old),
        Knows::NewSecret => ("REMGATE_SECRET", &scene.new),
        Knows::Key => ("REMGATE_PUBLIC_KEY", &scene.public_key),
    }
}

#[tokio::test]
async fn python() {
    let scene = Scene::set().await;
    let receiver = snippet("Python, a whole receiver", "python");
    for (number, variant) in (2..).zip(&PYTHON) {
        let verify = snippet(variant.heading, "python");
        let files = [("receiver.py", receiver.as_str()), ("verify.py", &verify)];
        let (name, value) = environment(&scene, variant.knows);
        let running = clients::python(&files, &[]).env("PORT", "0").env(name, value).spawn();
        scene.act(number, variant.knows, &running).await;
    }
}

#[tokio::test]
async fn typescript() {
    let scene = Scene::set().await;
    let receiver = snippet("TypeScript, a whole receiver", "ts");
    let verifiers = TYPESCRIPT.map(|variant| snippet(variant.heading, "ts"));
    let programs = verifiers.each_ref().map(|item| [("receiver.ts", receiver.as_str()), ("verify.ts", item)]);
    let compiled = clients::typescript(&programs.each_ref().map(|item| &item[..])).await;
    for (index, (number, variant)) in (2..).zip(&TYPESCRIPT).enumerate() {
        let (name, value) = environment(&scene, variant.knows);
        let running = compiled.launch(index, &[]).env("PORT", "0").env(name, value).spawn();
        scene.act(number, variant.knows, &running).await;
    }
}

#[tokio::test]
async fn rust() {
    assert_eq!(snippet("Rust, with standardwebhooks", "rust"), include_str!("verify.rs"));
    let scene = Scene::set().await;
    let Received { headers, body, .. } = &scene.captured;
    verify::verify(&scene.old, headers, body).expect("it is genuine");
    verify::verify(&scene.new, headers, body).expect("it is genuine");
    assert!(verify::verify(&scene.old, headers, &body[1..]).is_err());
}
