//! A receiver made by hand, so that it can do what no HTTP server would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use http::HeaderMap;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::LONG;

/// Accepted, and the connection may be used again.
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

pub(super) struct Receiver {
    pub(super) addr: SocketAddr,
    accepts: Arc<AtomicUsize>,
    heard: Mutex<mpsc::Receiver<Heard>>,
    over: UnboundedReceiver<()>,
}

impl Receiver {
    /// Answers every request with the same bytes, on the same connection while it lasts.
    pub(super) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(true, move |stream| drop(stream.write_all(&answer)))
    }

    /// Does something with a connection after its first request, then closes it.
    pub(super) fn doing(then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start(false, then)
    }

    fn start(again: bool, then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        // On both families where there are two, since every way to loopback has to be seen.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let accepts = Arc::new(AtomicUsize::new(0));
        let (heard_by, heard) = mpsc::channel();
        let (over_by, over) = unbounded_channel();
        let then = Arc::new(then);
        let counted = accepts.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (mut stream, then, heard_by, over_by) =
                    (stream.unwrap(), then.clone(), heard_by.clone(), over_by.clone());
                thread::spawn(move || {
                    while hear(&mut stream, &heard_by) {
                        then(&mut stream);
                        if !again {
                            break;
                        }
                    }
                    let _ = over_by.send(());
                });
            }
        });
        Self { addr, accepts, heard: Mutex::new(heard), over }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// Number of accepted connections.
    pub(super) fn accepts(&self) -> usize {
        self.accepts.load(Ordering::SeqCst)
    }

    /// The next request.
    pub(super) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().recv_timeout(LONG).expect("a request came in")
    }

    /// Returns when a connection has come to its end.
    pub(super) async fn over(&mut self) {
        timeout(LONG, self.over.recv()).await.expect("the connection has ended");
    }
}

/// Reads one request; false when there is none.
pub(super) fn hear(stream: &mut (impl Read + ?Sized), heard: &Sender<Heard>) -> bool {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(request) = parse(&bytes) {
            drop(heard.send(request));
            return true;
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return false,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
        }
    }
}

/// A request, once all of it is there.
fn parse(bytes: &[u8]) -> Option<Heard> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    let mut headers = HeaderMap::new();
    for field in fields.split("\r\n") {
        let (name, value) = field.split_once(": ").unwrap();
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Heard { line: line.to_owned(), headers, body })
}
