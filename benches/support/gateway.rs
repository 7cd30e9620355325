//! The binary under test, started as an operator would start it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use remgate::domain::{RandomSource, SigningSecret};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{message_length, now};

const TOKEN: &str = "for-measuring-only-0123456789";
const START_BOUND: Duration = Duration::from_secs(30);

/// A configuration with its folder: it can be started again and again, on the same store.
pub(crate) struct Setup {
    binary: PathBuf,
    folder: TempDir,
    show_log: bool,
    /// Address of the public listener.
    pub(crate) public: SocketAddr,
    /// Address of the internal listener.
    pub(crate) internal: SocketAddr,
}

/// A running gateway. Dropping it kills it.
pub(crate) struct Gateway {
    child: Child,
    /// From the exec to the first callback that was answered with 200.
    pub(crate) start: Duration,
}

/// The callback's path, up to the uaid.
pub(crate) fn callback_path() -> String {
    format!("/remauth_callback/{TOKEN}?authenticated=")
}

impl Setup {
    /// A new folder under `parent`; `database` is a URL, or nothing for a SQLite file in that folder.
    pub(crate) fn new(
        binary: &Path,
        parent: &Path,
        database: Option<&str>,
        endpoint: SocketAddr,
        show_log: bool,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("remgate-bench.").tempdir_in(parent)?;
        let [public, internal] = free_addrs()?;
        let secret = SigningSecret::generate(&RandomSource::seeded(1)).reveal();
        let config = format!(
            r#"
[public]
listen = "{public}"
[internal]
listen = "{internal}"
[database]
url = "{}"
[callback]
tokens = ["{TOKEN}"]
[[endpoint]]
name = "measured"
url = "http://{endpoint}/hook"
secret = "{}"
[delivery]
allow_private_networks = ["127.0.0.1/32"]
timeout = "1m"
[telemetry]
log_format = "json"
"#,
            database.unwrap_or("sqlite://remgate.db"),
            secret.expose_secret(),
        );
        std::fs::write(folder.path().join("remgate.toml"), config)?;
        Ok(Self { binary: binary.to_owned(), folder, show_log, public, internal })
    }

    /// Starts it and asks without pause until a callback is answered with 200.
    pub(crate) fn start(&self, rng: &RandomSource) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        // All that is logged by default is made, and thrown away: no log collector shares the cores.
        command.stderr(if self.show_log { Stdio::inherit() } else { Stdio::null() });
        let from = now();
        let child = command.spawn().with_context(|| format!("cannot run {}", self.binary.display()))?;
        let mut gateway = Gateway { child, start: Duration::ZERO };
        while !self.answers(rng) {
            let ended = gateway.child.try_wait()?;
            ensure!(ended.is_none(), "the gateway ended with {ended:?}; --show-log shows what it said");
            ensure!(now() - from < START_BOUND, "the gateway does not answer; --show-log shows what it says");
            std::thread::sleep(Duration::from_micros(200));
        }
        gateway.start = now() - from;
        Ok(gateway)
    }

    fn answers(&self, rng: &RandomSource) -> bool {
        self.first_answer(rng).is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
    }

    fn first_answer(&self, rng: &RandomSource) -> anyhow::Result<Vec<u8>> {
        let uaid = u128::from_be_bytes(rng.bytes());
        let mut stream = TcpStream::connect(self.public)?;
        stream.set_read_timeout(Some(START_BOUND))?;
        write!(stream, "GET {}{uaid:032x} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", callback_path())?;
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while message_length(&answer).is_none() {
            match stream.read(&mut buffer)? {
                0 => bail!("hung up"),
                more => answer.extend_from_slice(&buffer[..more]),
            }
        }
        Ok(answer)
    }
}

impl Gateway {
    /// The memory that it holds now, in MB (10⁶ bytes).
    pub(crate) fn rss_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Lets it end as it likes to.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two free addresses.
fn free_addrs() -> std::io::Result<[SocketAddr; 2]> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?, other.local_addr()?])
}
