//! Client of a listener that sends given bytes: for requests that no well-behaved client sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// One TCP connection.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// A connection on which nothing has been said yet.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a listener is there");
        Self { stream, read: Vec::new() }
    }

    /// Around a connection that was made elsewhere.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Sends one GET and reads the answer until the other side closes; nothing when it broke the connection.
    pub(crate) async fn ask(mut self, path: &str) -> Option<String> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        let answer = self.closed().await;
        (!answer.is_empty()).then_some(answer)
    }

    /// Says `bytes`. The other side may have hung up already; what it answered can still be read.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("a write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Closes the half of the connection that sends.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("the connection is open");
    }

    /// The next answer, head and body, by its `content-length` (none = no body).
    pub(crate) async fn answer(&mut self) -> String {
        let bytes = within("an answer", async {
            loop {
                if let Some(length) = answer_length(&self.read) {
                    return self.read.drain(..length).collect::<Vec<_>>();
                }
                let more = self.stream.read_buf(&mut self.read).await;
                assert!(more.is_ok_and(|n| n > 0), "closed after {:?}", String::from_utf8_lossy(&self.read));
            }
        });
        String::from_utf8(bytes.await).expect("our answers are text")
    }

    /// Waits until the other side has closed the connection; all that it said before that.
    pub(crate) async fn closed(mut self) -> String {
        // A reset is an end too.
        let _ = within("the end of the connection", self.stream.read_to_end(&mut self.read)).await;
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// Says `bytes` on a new connection, and gives all that comes back until the other side closes it.
pub(crate) async fn exchange(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut connection = Connection::open(addr).await;
    connection.send(bytes).await;
    connection.closed().await
}

fn answer_length(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse::<usize>().expect("a content-length is a number"));
    (read.len() >= head + body).then_some(head + body)
}
