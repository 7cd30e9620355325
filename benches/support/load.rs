//! The load: keep-alive connections that ask again as soon as they are answered, and one that asks by the clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use remgate::domain::RandomSource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{message_length, now};

/// A uaid, as it is written.
pub(crate) type Uaid = [u8; 32];

/// One request, ready to be sent; each time with another uaid where it has one.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    uaid_at: Option<usize>,
    rng: RandomSource,
}

impl Request {
    /// `GET path`, always the same.
    pub(crate) fn get(path: &str, rng: &RandomSource) -> Self {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes();
        Self { bytes, uaid_at: None, rng: rng.clone() }
    }

    /// `GET {path}{uaid}`.
    pub(crate) fn get_with_uaid(path: &str, rng: &RandomSource) -> Self {
        let request = Self::get(&format!("{path}{}", "0".repeat(32)), rng);
        Self { uaid_at: Some("GET ".len() + path.len()), ..request }
    }

    /// Its bytes, with a new uaid in them.
    fn renewed(&mut self) -> &[u8] {
        if let Some(at) = self.uaid_at {
            let digits = self.rng.bytes::<16>().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            for (place, digit) in self.bytes[at..].iter_mut().zip(digits) {
                *place = b"0123456789abcdef"[usize::from(digit)];
            }
        }
        &self.bytes
    }

    fn uaid(&self) -> Uaid {
        let at = self.uaid_at.expect("only requests with a uaid are followed");
        self.bytes[at..at + 32].try_into().expect("it has 32 digits")
    }
}

/// Answers a second, over `span` after `warm_up`, with so many connections. Any answer but a 200 is an error.
pub(crate) async fn rate(
    addr: SocketAddr,
    request: &Request,
    connections: usize,
    warm_up: Duration,
    span: Duration,
) -> anyhow::Result<f64> {
    let from = now() + warm_up;
    let until = from + span;
    let mut all = JoinSet::new();
    for _ in 0..connections {
        all.spawn(keep_asking(addr, request.clone(), from, until));
    }
    let mut answers = 0_u32;
    while let Some(one) = all.join_next().await {
        answers += one.context("a connection's task ended badly")??;
    }
    Ok(f64::from(answers) / span.as_secs_f64())
}

async fn keep_asking(
    addr: SocketAddr,
    mut request: Request,
    from: Instant,
    until: Instant,
) -> anyhow::Result<u32> {
    let mut connection = Connection::open(addr).await?;
    let mut answers = 0;
    loop {
        connection.ask(request.renewed()).await?;
        let at = now();
        if at >= until {
            return Ok(answers);
        }
        answers += u32::from(at >= from);
    }
}

/// Asks once every `pause`, so many times, whatever the answers take; when each request was sent.
pub(crate) async fn paced(
    addr: SocketAddr,
    mut request: Request,
    pause: Duration,
    times: u32,
) -> anyhow::Result<HashMap<Uaid, Instant>> {
    let mut connection = Connection::open(addr).await?;
    let mut ticks = tokio::time::interval(pause);
    let mut sent = HashMap::new();
    for _ in 0..times {
        ticks.tick().await;
        let bytes = request.renewed().to_owned();
        sent.insert(request.uaid(), now());
        connection.ask(&bytes).await?;
    }
    Ok(sent)
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8; 4096]>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Box::new([0; 4096]) })
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await.context("cannot ask")?;
        let mut filled = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[filled..]).await.context("cannot read an answer")?;
            filled += more;
            let answer = &self.buffer[..filled];
            if message_length(answer).is_some_and(|length| length == filled) {
                if answer.starts_with(b"HTTP/1.1 200 ") {
                    return Ok(());
                }
                bail!("an answer was no 200: {}", String::from_utf8_lossy(answer));
            }
            if more == 0 {
                bail!("hung up in the middle of {:?}", String::from_utf8_lossy(answer));
            }
        }
    }
}
