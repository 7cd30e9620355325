//! Reads server-sent events as a browser's `EventSource` does, byte by byte, so that a test sees how a stream ends.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// An open stream.
pub(crate) struct EventSource {
    stream: TcpStream,
    /// The answer's head.
    pub(crate) head: String,
    /// Bytes as they came.
    raw: Vec<u8>,
    /// Text that no block has been made of.
    text: String,
    /// True if the last chunk was received.
    ended: bool,
    /// `Last-Event-ID` that a browser would send when it connects again.
    pub(crate) place: Option<String>,
}

/// Block between two empty lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) comment: Option<String>,
}

impl Block {
    /// Its data, read as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.data.as_ref().expect("it has data")).expect("our data are JSON")
    }
}

impl Block {
    /// Returns whether it holds an event: not a comment, nor an id alone.
    pub(crate) fn is_event(&self) -> bool {
        self.data.is_some() && self.event.as_deref() != Some("cursor")
    }
}

impl EventSource {
    /// Asks for `target` and waits for the head of the answer.
    pub(crate) async fn open(addr: SocketAddr, target: &str, last_event_id: Option<&str>) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a listener is there");
        let mut source = Self::ask(stream, target, last_event_id).await;
        source.read_head().await;
        source
    }

    /// Asks for `target`, and reads nothing. What the system takes for it is little.
    pub(crate) async fn unread(addr: SocketAddr, target: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("the system has sockets");
        socket.set_recv_buffer_size(4096).expect("it may be small");
        let stream = within("a connection", socket.connect(addr)).await.expect("a listener is there");
        Self::ask(stream, target, None).await
    }

    async fn ask(mut stream: TcpStream, target: &str, last_event_id: Option<&str>) -> Self {
        let place = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{place}\r\n");
        within("a write", stream.write_all(request.as_bytes())).await.expect("a listener is there");
        let place = last_event_id.map(str::to_owned);
        Self { stream, head: String::new(), raw: Vec::new(), text: String::new(), ended: false, place }
    }

    async fn read_head(&mut self) {
        let end = within("the head of an answer", async {
            loop {
                if let Some(end) = self.raw.windows(4).position(|window| window == b"\r\n\r\n") {
                    return end + 4;
                }
                assert!(self.more().await, "closed after {:?}", String::from_utf8_lossy(&self.raw));
            }
        });
        let end = end.await;
        self.head = String::from_utf8(self.raw.drain(..end).collect()).expect("heads are text");
        assert!(self.head.starts_with("HTTP/1.1 200 "), "{}", self.head);
    }

    /// Returns whether more bytes came before the connection was closed or broken.
    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.raw).await.is_ok_and(|count| count > 0)
    }

    /// Takes whole chunks out of what came.
    fn unchunk(&mut self) {
        loop {
            let Some(line) = self.raw.windows(2).position(|window| window == b"\r\n") else { return };
            let size = std::str::from_utf8(&self.raw[..line]).ok();
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).expect("a chunk's size");
            let end = line + 2 + size;
            if self.raw.len() < end + 2 {
                return;
            }
            self.text.push_str(std::str::from_utf8(&self.raw[line + 2..end]).expect("streams are text"));
            self.raw.drain(..end + 2);
            self.ended |= size == 0;
        }
    }

    fn cut(&mut self) -> Option<Block> {
        let end = self.text.find("\n\n")?;
        let text: String = self.text.drain(..end + 2).collect();
        let mut block = Block::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field in {line:?}"));
            let slot = match field {
                "id" => &mut block.id,
                "event" => &mut block.event,
                "data" => &mut block.data,
                "retry" => &mut block.retry,
                "" => &mut block.comment,
                other => panic!("the field {other} in {line:?}"),
            };
            *slot = Some(value.to_owned());
        }
        if block.id.is_some() {
            self.place.clone_from(&block.id);
        }
        Some(block)
    }

    /// The next block; none when the stream has ended or broken.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        within("a block of a stream", async {
            if self.head.is_empty() {
                self.read_head().await;
            }
            loop {
                self.unchunk();
                if let Some(block) = self.cut() {
                    return Some(block);
                }
                if self.ended || !self.more().await {
                    return None;
                }
            }
        })
        .await
    }

    /// The next event: passes over comments and positions.
    pub(crate) async fn event(&mut self) -> Block {
        // Bounded as a whole: a stream that has nothing to say goes on to ping.
        within("an event of a stream", async {
            loop {
                let block = self.block().await.expect("the stream goes on");
                if block.is_event() {
                    return block;
                }
            }
        })
        .await
    }

    /// The next `count` events' uaids.
    pub(crate) async fn uaids(&mut self, count: usize) -> Vec<String> {
        let mut uaids = Vec::new();
        while uaids.len() < count {
            uaids.push(self.event().await.json()["uaid"].as_str().expect("an event has one").to_owned());
        }
        uaids
    }

    /// All that is left until the other side ends the stream, and whether it said that this is the end.
    pub(crate) async fn rest(mut self) -> (Vec<Block>, bool) {
        let blocks = within("the end of a stream", async {
            let mut blocks = Vec::new();
            while let Some(block) = self.block().await {
                blocks.push(block);
            }
            blocks
        });
        (blocks.await, self.ended)
    }
}
