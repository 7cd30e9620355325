//! How an app signs a user in: the code of `docs/how-to/sign-in-users.md` in each of its languages, and stock clients of the streams, against
//! a real remgate.

mod browser;
mod clients;
mod eventsource;

use http::Method;
use serde_json::{Value, json};

use crate::support::clients::{Files, php, python, snippet, typescript};
use crate::support::engine::Engine;
use crate::support::http::Client;
use crate::support::process::{Launch, Output};
use crate::support::service::{Service, uaid};

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// A service whose callbacks can be trusted.
async fn service(engine: &Engine, more: &str) -> Service {
    Service::start(engine, &format!("callback.tokens = [\"{TOKEN}\"]\n{more}")).await
}

async fn confirmed(service: &Service, number: u64) {
    service
        .public
        .get(&format!("/remauth_callback/{TOKEN}?authenticated={}", uaid(number)))
        .await
        .expect(200);
}

fn at(number: u64) -> String {
    format!("/v1/authentications/{}", uaid(number))
}

/// Says that it is expected; the status of the answer.
async fn expect(internal: &Client, number: u64, seconds: u64) -> u16 {
    let said = json!({"subject": "jane@example.com", "expires_in": seconds});
    internal.request(Method::PUT, &at(number), Some(&said)).await.status
}

async fn look(internal: &Client, number: u64) -> Value {
    internal.get(&format!("{}?wait=20", at(number))).await.expect(200).json()
}

/// Lets a client sign people in, those who may be and those who may not.
async fn signs_in_who_may(client: impl Fn(&[&str]) -> Launch) {
    let engine = Engine::sqlite();
    let service = service(&engine, "").await;
    let key = json!({"name": "login", "scopes": ["authentications:write"], "service": "default"});
    let key = service.internal.post("/v1/keys", &key).await.expect(201).json();
    let run = async |number: u64, of: &Service| -> Output {
        let launch = client(&[&uaid(number), "jane@example.com"]);
        let key = key["key"].as_str().expect("a text");
        launch.env("REMGATE_URL", of.internal.base()).env("REMGATE_KEY", key).run().await
    };

    let (output, ()) = tokio::join!(run(1, &service), async {
        service.until_metric("remgate_waiters", 1).await;
        confirmed(&service, 1).await;
    });
    assert_eq!((output.code, output.stdout.trim()), (Some(0), "signed in: token"), "{}", output.stderr);
    let seen = look(&service.internal, 1).await;
    assert_eq!((&seen["subject"], seen["claimed_at"].is_string()), (&json!("jane@example.com"), true));

    let refused = |output: &Output, said: &str| {
        assert!(
            output.code.is_some_and(|code| code != 0) && !output.stdout.contains("signed in"),
            "{output:?}"
        );
        assert!(format!("{}{}", output.stdout, output.stderr).contains(said), "{output:?}");
    };
    refused(&run(1, &service).await, "409");
    assert_eq!(expect(&service.internal, 2, 1).await, 201);
    assert_eq!(look(&service.internal, 2).await["status"], "expired");
    refused(&run(2, &service).await, "409");
    let other = Engine::sqlite();
    let open = Service::start(&other, "authentications.min_trust = \"none\"").await;
    open.store(&uaid(3)).await;
    refused(&run_open(&client, &open, 3).await, "403: anyone");
}

/// On a listener that requires no key.
async fn run_open(client: impl Fn(&[&str]) -> Launch, open: &Service, number: u64) -> Output {
    let launch = client(&[&uaid(number), "jane@example.com"]);
    launch.env("REMGATE_URL", open.internal.base()).env("REMGATE_KEY", "none").run().await
}

#[tokio::test]
async fn in_python() {
    let login = snippet("how-to/sign-in-users.md", "Python", "python");
    let main =
        "import sys\nfrom login import sign_in\nprint('signed in:', sign_in(*sys.argv[1:])['trust'])\n";
    signs_in_who_may(|more| python(&[("main.py", main), ("login.py", &login)], more)).await;
}

#[tokio::test]
async fn in_typescript() {
    let login = snippet("how-to/sign-in-users.md", "TypeScript", "ts");
    let main = "import { signIn } from './login.js';\nconst [uaid, email] = process.argv.slice(2);\n\
        console.log('signed in:', (await signIn(uaid!, email!)).trust);\n";
    let files: [(&str, &str); 2] = [("main.ts", main), ("login.ts", &login)];
    let compiled = typescript(&[&files as &Files<'_>]).await;
    signs_in_who_may(|more| compiled.launch(0, more)).await;
}

#[tokio::test]
async fn in_php() {
    let login = snippet("how-to/sign-in-users.md", "PHP", "php");
    let main =
        "<?php\nrequire 'login.php';\necho 'signed in: ' . sign_in($argv[1], $argv[2])['trust'] . PHP_EOL;\n";
    signs_in_who_may(|more| php(&[("main.php", main), ("login.php", &login)], more)).await;
}
