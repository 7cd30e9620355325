//! A PostgreSQL server of our own, on loopback, in a folder of its own; gone when its owner is gone, even when killed.
//!
//! The benchmark uses this file too: it must not know the rest of the harness.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A running server. Dropping it stops it and removes its folder.
pub(crate) struct Server {
    supervisor: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// A new and empty server, in a new folder under `parent`, with these lines in its `postgresql.conf`; takes about
    /// a second.
    pub(crate) fn start(settings: &str, parent: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("server.sh"), "server.sh"])
            .arg(programs())
            .arg(parent)
            .arg(settings);
        command.args(free_ports().map(|port| port.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C reaches the tests alone; the supervisor hears of it by the end of its standard input.
        command.process_group(0);
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = user("postgres");
            command.uid(uid).gid(gid);
        }
        let mut supervisor = command.spawn().expect("/bin/sh runs");
        let commands = supervisor.stdin.take();
        let answers = BufReader::new(supervisor.stdout.take().expect("its output is piped"));
        let mut server = Self { supervisor, commands, answers, port: 0 };
        let ready = server.answer();
        server.port = match ready.strip_prefix("ready ") {
            Some(port) => port.parse().expect("the supervisor names the port"),
            None => server.fail("start"),
        };
        server
    }

    /// Returns the URL of one of its databases. The server accepts every password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://remgate:unchecked@127.0.0.1:{}/{database}", self.port)
    }

    /// Takes the server away. Its data stays; connections to it break.
    pub(crate) fn stop(&mut self) {
        self.command("stop", "stopped");
    }

    /// Brings it back, at the same address and with the same data.
    pub(crate) fn start_again(&mut self) {
        self.command("start", "started");
    }

    fn command(&mut self, command: &str, expected: &str) {
        let commands = self.commands.as_mut().expect("only a drop closes it");
        writeln!(commands, "{command}").expect("the supervisor listens as long as we live");
        if self.answer() != expected {
            self.fail(command);
        }
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the supervisor writes text");
        line.trim_end().to_owned()
    }

    fn fail(&mut self, what: &str) -> ! {
        drop(self.commands.take());
        let mut words = String::new();
        if let Some(mut stderr) = self.supervisor.stderr.take() {
            let _ = stderr.read_to_string(&mut words);
        }
        panic!("the private PostgreSQL failed to {what}:\n{words}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.supervisor.wait();
    }
}

/// The folder with the newest `initdb`: Debian keeps it off the PATH.
fn programs() -> PathBuf {
    let debian = Path::new("/usr/lib/postgresql");
    let versions = debian.read_dir().into_iter().flatten().flatten();
    let mut found: Vec<_> = versions
        .filter(|version| version.path().join("bin/initdb").exists())
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path())))
        .collect();
    found.sort();
    if let Some((_, newest)) = found.pop() {
        return newest.join("bin");
    }
    #[expect(clippy::disallowed_methods, reason = "the harness looks for a program of this machine")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .expect("there is no PostgreSQL: `apt-get install postgresql`, or put initdb and pg_ctl on the PATH")
}

/// The user and group numbers of `name`, for whom initdb works while it refuses root.
fn user(name: &str) -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("every system has its users in /etc/passwd");
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let fields = fields.unwrap_or_else(|| {
        panic!("initdb refuses root, and there is no user `{name}`: `apt-get install postgresql` makes one")
    });
    let number = |at: usize| fields[at].parse().expect("the third and fourth fields are numbers");
    (number(2), number(3))
}

/// A few ports that are free now, out of the range from which the system picks: a `:0` never takes them
/// while the server is stopped.
fn free_ports() -> impl Iterator<Item = u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 1000) as u16 * 10;
    std::iter::repeat_with(move || 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(5)
}
