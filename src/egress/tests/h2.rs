//! Receivers that speak HTTP/2, well and ill.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::tls::{Stream, believing, over_tls, server_config};
use super::{LONG, endpoint, event, lease, send};
use crate::domain::{AttemptError, Clock, Format, Headers, SystemClock};
use crate::egress::Guard;
use secrecy::ExposeSecret;

/// For a whole attempt that is expected to take all of it.
const SHORT: Duration = Duration::from_secs(1);

type Heard = (http::request::Parts, Bytes);

/// One that answers as `answer` says; with how many connections came about.
struct H2 {
    addr: SocketAddr,
    accepts: Arc<AtomicUsize>,
    heard: UnboundedReceiver<Heard>,
}

impl H2 {
    async fn answering(answer: impl Fn() -> Response<Full<Bytes>> + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepts = Arc::new(AtomicUsize::new(0));
        let (told, heard) = unbounded_channel();
        let handshake = TlsAcceptor::from(server_config(&[b"h2", b"http/1.1"]));
        let counted = accepts.clone();
        detach(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let handshake = handshake.clone();
                let tell = told.clone();
                let answer = answer.clone();
                detach(async move {
                    let stream = handshake.accept(stream).await.unwrap();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let tell = tell.clone();
                        let answer = answer.clone();
                        async move {
                            let (parts, body) = request.into_parts();
                            let _ = tell.send((parts, body.collect().await.unwrap().to_bytes()));
                            Ok::<_, Infallible>(answer())
                        }
                    });
                    let builder = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).clone();
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, accepts, heard }
    }

    fn url(&self) -> String {
        format!("https://{}/hook?key=1", self.addr)
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's own runtime ends with the test")]
fn detach(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

#[tokio::test]
async fn what_arrives_over_http_2_is_the_same_and_shares_a_connection() {
    let mut receiver = H2::answering(|| Response::new("ok".into())).await;
    let sender = believing(LONG);
    let mut to = endpoint(&receiver.url(), Format::Standard);
    to.settings.sending.headers = Headers::new([("X-Tenant".to_owned(), "7".into())]).unwrap();
    for _ in 0..3 {
        let lease = lease(event(), false);
        let report = sender.send(&to, &lease, SystemClock.now()).await;
        assert_eq!((report.status, report.error, report.response.as_str()), (Some(200), None, "ok"));
        let (head, body) = receiver.heard.recv().await.unwrap();
        assert_eq!((head.version, head.method.as_str()), (Version::HTTP_2, "POST"));
        assert_eq!(head.uri.to_string(), receiver.url());
        assert_eq!(head.headers["x-tenant"], "7");
        assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"));
        let oracle = standardwebhooks::Webhook::new(to.settings.secret.reveal().expose_secret()).unwrap();
        oracle.verify(&body, &head.headers).unwrap();
    }
    let together = (0..8).map(|_| send(&sender, to.settings.url.as_url().as_str()));
    for report in futures_util::future::join_all(together).await {
        assert!(report.accepted(), "{report:?}");
    }
    assert_eq!(receiver.accepts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_answer_is_read_for_16_kib_and_does_not_harm_the_connection() {
    let receiver = H2::answering(|| Response::new("x".repeat(10_000_000).into())).await;
    let sender = believing(LONG);
    for _ in 0..5 {
        let report = send(&sender, &receiver.url()).await;
        assert_eq!((report.status, report.response.len()), (Some(200), 16 * 1024));
    }
    assert_eq!(receiver.accepts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_guard_stands_here_too() {
    let receiver = H2::answering(|| {
        Response::builder().status(307).header("location", "/elsewhere").body(Full::default()).unwrap()
    })
    .await;
    let report = send(&believing(LONG), &receiver.url()).await;
    assert_eq!((report.status, receiver.accepts.load(Ordering::SeqCst)), (Some(307), 1));
    let report = send(&super::sender(Guard::new(Vec::new()), LONG), &receiver.url()).await;
    assert_eq!(report.error, Some(AttemptError::Refused));
    assert_eq!(receiver.accepts.load(Ordering::SeqCst), 1);
}

/// The head of a frame.
fn frame(length: u8, kind: u8, flags: u8, stream: u8) -> [u8; 9] {
    [0, 0, length, kind, flags, 0, 0, 0, stream]
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:status: NNN`, not to be remembered.
fn status(digits: [u8; 3]) -> Vec<u8> {
    [&[8, 3], &digits[..]].concat()
}

/// Accepts a request over HTTP/2, sends `first`, and then `again` until the connection ends.
fn raw(first: Vec<u8>, again: Vec<u8>) -> SocketAddr {
    over_tls(&[b"h2"], move |stream| {
        // The preface, and of the frames after it that one which asks.
        let mut seen = vec![0; 24];
        if stream.read_exact(&mut seen).is_err() {
            return;
        }
        while let Some((kind, _)) = next_frame(stream) {
            if kind == HEADERS {
                break;
            }
        }
        let _ = stream.write_all(&[&frame(0, SETTINGS, 0, 0)[..], &first].concat());
        let many = again.repeat(16 * 1024 / again.len().max(1));
        while !many.is_empty() && stream.write_all(&many).is_ok() {}
    })
}

fn next_frame(stream: &mut dyn Stream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut body).ok()?;
    Some((head[3], body))
}

fn framed(kind: u8, flags: u8, stream: u8, body: &[u8]) -> Vec<u8> {
    [&frame(u8::try_from(body.len()).unwrap(), kind, flags, stream)[..], body].concat()
}

/// Floods of frames end with the attempt's timeout.
#[rstest::rstest]
#[case::pings(vec![], framed(PING, 0, 0, &[7; 8]))]
#[case::answers_to_pings(vec![], framed(PING, ACK, 0, &[7; 8]))]
#[case::settings(vec![], framed(SETTINGS, 0, 0, &[]))]
#[case::settings_with_values(vec![], framed(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))]
#[case::window_updates(vec![], framed(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))]
#[case::windows_of_the_stream(vec![], framed(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]))]
#[case::unknown_frames(vec![], framed(0x42, 0, 0, &[7; 100]))]
#[case::interim_answers(vec![], framed(HEADERS, END_HEADERS, 1, &status(*b"100")))]
#[tokio::test]
async fn a_flood_of_frames_runs_into_the_timeout(#[case] first: Vec<u8>, #[case] again: Vec<u8>) {
    ends(raw(first, again), AttemptError::Timeout).await;
}

#[rstest::rstest]
#[case::continuations(framed(HEADERS, 0, 1, &status(*b"200")), framed(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']))]
#[case::empty_continuations(framed(HEADERS, 0, 1, &status(*b"200")), framed(CONTINUATION, 0, 1, &[]))]
#[case::resets(vec![], framed(RST_STREAM, 0, 1, &[0, 0, 0, 0]))]
#[case::data_before_a_head(vec![], framed(0, 0, 1, &[7; 100]))]
#[case::promises(vec![], framed(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]))]
#[case::oversized(vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], vec![7; 100])]
#[case::garbage(vec![], b"HTTP/1.1 200 OK\r\n\r\n".to_vec())]
#[case::an_end(framed(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1]), vec![])]
#[tokio::test]
async fn what_http_2_forbids_is_a_protocol_error(#[case] first: Vec<u8>, #[case] again: Vec<u8>) {
    ends(raw(first, again), AttemptError::Protocol).await;
}

async fn ends(addr: SocketAddr, error: AttemptError) {
    let report = tokio::time::timeout(LONG, send(&believing(SHORT), &format!("https://{addr}/"))).await;
    let report = report.expect("the send ends");
    assert_eq!((report.status, report.error), (None, Some(error)), "{report:?}");
    assert!(report.elapsed < SHORT * 4, "{report:?}");
}

/// The head decides here as well.
#[rstest::rstest]
#[case::data(framed(0, 0, 1, &[b'x'; 100]))]
#[case::empty_data(framed(0, 0, 1, &[]))]
#[case::padded_data(framed(0, 8, 1, &[99; 100]))]
#[case::pings(framed(PING, 0, 0, &[7; 8]))]
#[tokio::test]
async fn a_body_of_frames_does_as_it_likes(#[case] again: Vec<u8>) {
    let addr = raw(framed(HEADERS, END_HEADERS, 1, &status(*b"200")), again);
    let report = send(&believing(LONG), &format!("https://{addr}/")).await;
    assert!(report.accepted() && report.elapsed < SHORT * 4, "{report:?}");
}

/// A server that closes says which requests it has not looked at; they are safe to make again at once.
#[rstest::rstest]
#[case::closing(framed(GOAWAY, 0, 0, &[0; 8]))]
#[case::too_many(framed(RST_STREAM, 0, 1, &[0, 0, 0, 7]))]
#[tokio::test]
async fn what_a_server_has_not_begun_with_is_asked_once_more(#[case] refusal: Vec<u8>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let addr = over_tls(&[b"h2"], move |stream| {
        if stream.read_exact(&mut [0; 24]).is_err() {
            return;
        }
        let _ = stream.write_all(&frame(0, SETTINGS, 0, 0));
        while let Some((kind, _)) = next_frame(stream) {
            if kind == HEADERS {
                let _ = match counted.fetch_add(1, Ordering::SeqCst) {
                    0 => stream.write_all(&refusal),
                    n => {
                        let stream_id = if n == 1 && refusal[3] == RST_STREAM { 3 } else { 1 };
                        stream.write_all(&framed(HEADERS, END_HEADERS | 1, stream_id, &status(*b"204")))
                    }
                };
            }
        }
    });
    let report = send(&believing(LONG), &format!("https://{addr}/")).await;
    assert_eq!((report.status, asked.load(Ordering::SeqCst)), (Some(204), 2), "{report:?}");
}
