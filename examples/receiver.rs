//! A receiver to try remgate with: prints each webhook that arrives on 127.0.0.1:9000, and whether it is signed with
//! the secret of the README.
//!
//! `cargo run --example receiver [ADDRESS:PORT]`

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use remgate::domain::SigningSecret;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    say(&format!("waiting for webhooks on http://{}/", listener.local_addr()?));
    axum::serve(listener, Router::new().route("/", post(receive))).await?;
    Ok(())
}

async fn receive(headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, signatures) = (header("webhook-id"), header("webhook-signature"));
    let secret: SigningSecret = SECRET.parse().expect("the secret above is one");
    let signed = header("webhook-timestamp").parse().map(|at| secret.sign(id, at, &body));
    // A receiver with something to lose compares in constant time, and refuses timestamps older than five minutes.
    let is_ours = signed.is_ok_and(|ours| signatures.split(' ').any(|theirs| theirs == ours));
    let verdict = if is_ours { "signed with our secret" } else { "NOT signed with our secret" };
    say(&format!("{id}, {verdict}: {}", String::from_utf8_lossy(&body)));
    if is_ours { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn say(line: &str) {
    println!("{line}");
}
