//! Bytes of broken receivers.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::behaviour::ReceiverTrouble;

/// Pause of a dripping receiver between two bytes.
const DRIP: Duration = Duration::from_secs(1);

/// First bytes of a dripping receiver; dots follow.
const DRIPPED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx-drip: ";

/// A wait as `Retry-After` says it: whole seconds, rather more than fewer.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Makes trouble until the other side has had enough of it.
pub(super) async fn make(trouble: ReceiverTrouble, mut stream: TcpStream) {
    // The outcome cannot be reported.
    let _ = match trouble {
        ReceiverTrouble::Hang | ReceiverTrouble::Redirect => hang(&mut stream).await,
        // Closing a connection that does not linger is what sends the reset.
        ReceiverTrouble::Reset => stream.set_zero_linger(),
        ReceiverTrouble::Drip => drip(&mut stream).await,
        ReceiverTrouble::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
            forever(&mut stream, head, b"and so on, ").await
        }
        ReceiverTrouble::Flood => {
            forever(&mut stream, b"HTTP/1.1 200 OK\r\n", b"x-flood: and so on\r\n").await
        }
        ReceiverTrouble::Garbage => stream.write_all(b"\x16\x03\x01 this is not HTTP\n\n").await,
    };
}

/// Keeps silent until the other side goes.
async fn hang(stream: &mut TcpStream) -> io::Result<()> {
    while tokio::io::AsyncReadExt::read(stream, &mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn drip(stream: &mut TcpStream) -> io::Result<()> {
    for byte in DRIPPED.iter().chain(std::iter::repeat(&b'.')) {
        stream.write_all(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(DRIP).await;
    }
    Ok(())
}

async fn forever(stream: &mut TcpStream, head: &[u8], again: &[u8]) -> io::Result<()> {
    stream.write_all(head).await?;
    let piece = again.repeat(1024);
    loop {
        stream.write_all(&piece).await?;
    }
}
