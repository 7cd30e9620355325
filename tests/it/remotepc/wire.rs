//! Connections to upstream: TLS and its authorities, HTTP/2, proxies.

use std::process::Command;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use remgate::remotepc::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upstream::{OK, by_hand, fixture, overheard, tls};
use super::{Setup, gateway, good_body, settings};

/// An upstream behind TLS that answers each connection once.
async fn over_tls() -> String {
    let tls = tls(b"http/1.1");
    by_hand(move |stream| {
        let tls = tls.clone();
        async move {
            // A client that does not trust us hangs up here.
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(OK).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await
}

/// An upstream that speaks nothing but HTTP/2.
pub(super) async fn over_http2(answer: &'static str) -> String {
    let tls = tls(b"h2");
    by_hand(move |stream| {
        let tls = tls.clone();
        async move {
            let stream = TokioIo::new(tls.accept(stream).await.unwrap());
            let answer = service_fn(move |_| async move {
                Ok::<_, http::Error>(Response::new(Full::new(Bytes::from(answer))))
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(stream, answer)
                .await;
        }
    })
    .await
}

#[tokio::test]
async fn an_authority_of_the_operators_is_trusted_and_nobody_elses() {
    let upstream = over_tls().await;
    let trusting =
        gateway(Setup { ca_file: Some(fixture("ca.pem")), ..Setup::to(format!("https://{upstream}")) }).await;
    assert_eq!(trusting.post("add", good_body("add")).await.status, 200);

    let wary = gateway(Setup::to(format!("https://{upstream}"))).await;
    let reply = wary.post("add", good_body("add")).await;
    assert_eq!(reply.refusal(), (502, "REMOTEPC_UNREACHABLE".to_owned()));
}

#[tokio::test]
async fn an_upstream_may_speak_http2() {
    let upstream = over_http2(r#"{"status":"OK","code":200,"message":"SUCCESS"}"#).await;
    let setup = Setup { ca_file: Some(fixture("ca.pem")), ..Setup::to(format!("https://{upstream}")) };
    let reply = gateway(setup).await.post("add", good_body("add")).await;
    assert_eq!(reply.json()["message"], "SUCCESS");
}

#[tokio::test]
async fn a_proxy_of_the_operators_is_used() {
    let (proxy, mut told) = overheard(OK).await;
    let setup = Setup {
        proxy: Some(format!("http://user:pass@{proxy}")),
        ..Setup::to("http://upstream.example/rpc-api")
    };
    let reply = gateway(setup).await.post("add", good_body("add")).await;
    assert_eq!(reply.status, 200);
    let request = told.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("post http://upstream.example/rpc-api/user/add http/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{request}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_unreachable() {
    let (upstream, mut told) = overheard(OK).await;
    for scheme in ["http", "socks5"] {
        let setup = Setup {
            proxy: Some(format!("{scheme}://user:pass@127.0.0.1:1")),
            ..Setup::to(format!("http://{upstream}"))
        };
        let reply = gateway(setup).await.post("add", good_body("add")).await;
        assert_eq!(reply.refusal(), (502, "REMOTEPC_UNREACHABLE".to_owned()));
    }
    assert!(told.try_recv().is_err(), "no connection went around the proxy");
}

#[tokio::test]
async fn a_socks_proxy_is_spoken_to_in_its_own_words() {
    let upstream = by_hand(|mut stream| async move {
        let mut hello = [0; 3];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [5, 1, 0]);
        stream.write_all(&[5, 0]).await.unwrap();
        let mut connect = [0; 5];
        stream.read_exact(&mut connect).await.unwrap();
        assert_eq!(connect[..4], [5, 1, 0, 3], "the proxy resolves the name");
        let mut name_and_port = vec![0; usize::from(connect[4]) + 2];
        stream.read_exact(&mut name_and_port).await.unwrap();
        assert_eq!(name_and_port, b"upstream.example\0P");
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
        super::upstream::read_request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let setup = Setup { proxy: Some(format!("socks5://{upstream}")), ..Setup::to("http://upstream.example") };
    assert_eq!(gateway(setup).await.post("add", good_body("add")).await.status, 200);
}

/// Runs one ignored test of this file in a process of its own: an environment cannot be changed from within.
#[track_caller]
fn passes_with(name: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", &format!("remotepc::wire::{name}")])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn the_environments_proxies_are_ignored() {
    let nowhere = "http://127.0.0.1:1";
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let environment: Vec<_> =
        names.into_iter().map(|name| (name, nowhere)).chain([("NO_PROXY", ""), ("no_proxy", "")]).collect();
    passes_with("an_authority_of_the_operators_is_trusted_and_nobody_elses", &environment);
    passes_with("a_proxy_of_the_operators_is_used", &environment);
}

#[test]
fn a_machine_without_authorities_is_told_what_it_lacks() {
    let nothing = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    passes_with("no_authorities", &nothing);
}

#[test]
#[ignore = "needs the environment that its parent sets"]
fn no_authorities() {
    let text = Client::new(settings(Setup::to("http://127.0.0.1:1"))).unwrap_err().to_string();
    assert!(text.contains("ca-certificates") && text.contains("remotepc.ca_file"), "{text}");
    let setup = Setup { ca_file: Some(fixture("ca.pem")), ..Setup::to("http://127.0.0.1:1") };
    assert!(Client::new(settings(setup)).is_ok());
}
