//! The real binary, as an operator runs it: a folder, a configuration, signals, exit codes, lines of output.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{BOUND, within};

/// Arguments and environment of a run of the binary.
pub(crate) struct Launch {
    command: Command,
    folder: PathBuf,
    own: Option<TempDir>,
}

/// A running binary. Dropping it kills it.
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    pid: Pid,
    folder: PathBuf,
    _own: Option<TempDir>,
    lines: watch::Receiver<Vec<String>>,
    exit: watch::Receiver<Option<ExitStatus>>,
    addrs: Option<(SocketAddr, SocketAddr)>,
}

/// Result of a command that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All of its standard output.
    pub(crate) stdout: String,
    /// All of its standard error.
    pub(crate) stderr: String,
}

impl Launch {
    /// The binary in a new folder, with nothing of our own environment.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::program(env!("CARGO_BIN_EXE_remgate").as_ref(), args)
    }

    /// Another program, run the same way.
    pub(crate) fn program(program: &Path, args: &[&str]) -> Self {
        let own = tempfile::tempdir().expect("failed to create a temporary folder");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        Self { command, folder: own.path().to_owned(), own: Some(own) }.at_home()
    }

    /// In `folder`, which stays when the process goes: for a second start on the same store.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), own: None, ..self }.at_home()
    }

    /// With this `remgate.toml` in its folder, where a start looks for it.
    pub(crate) fn config(self, config: &str) -> Self {
        self.file("remgate.toml", config)
    }

    /// With this file in its folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.join(name), text).expect("the folder is ours");
        self
    }

    /// With this variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self) -> Output {
        let mut child = self.command.spawn().expect("the program runs");
        let stdout = text_of(child.stdout.take());
        let stderr = text_of(child.stderr.take());
        let process = Process::watched(child, self.folder, self.own, Vec::new());
        let code = process.wait().await;
        let read = "its output was read";
        Output { code, stdout: stdout.await.expect(read), stderr: stderr.await.expect(read) }
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(mut self) -> Process {
        let mut child = self.command.spawn().expect("the program runs");
        let stdout: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("it is piped"));
        let stderr: Box<dyn Read + Send> = Box::new(child.stderr.take().expect("it is piped"));
        Process::watched(child, self.folder, self.own, vec![stdout, stderr])
    }

    /// Starts it, and waits until its log says that it is ready.
    pub(crate) async fn start(self) -> Process {
        let mut process = self.env("REMGATE__TELEMETRY__LOG_FORMAT", "json").spawn();
        let ready = process.line(|line| field(line, "message").as_deref() == Some("remgate is ready")).await;
        let addr = |name| field(&ready, name).and_then(|addr| addr.parse().ok());
        process.addrs = addr("public_addr").zip(addr("internal_addr"));
        assert!(process.addrs.is_some(), "the line names both addresses: {ready}");
        process
    }

    fn at_home(mut self) -> Self {
        self.command.current_dir(&self.folder).env("HOME", &self.folder);
        self
    }
}

impl Process {
    /// A command, run to its end in `folder`.
    pub(crate) async fn run(args: &[&str], env: &[(&str, &str)], folder: &Path) -> Output {
        let launch = Launch::new(args).in_folder(folder);
        env.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).run().await
    }

    /// Returns the URL of the public listener.
    pub(crate) fn public_url(&self) -> String {
        format!("http://{}", self.public_addr())
    }

    /// Returns the URL of the internal listener.
    pub(crate) fn internal_url(&self) -> String {
        format!("http://{}", self.internal_addr())
    }

    /// The public listener's address.
    pub(crate) fn public_addr(&self) -> SocketAddr {
        self.addrs.expect("it was started, not only spawned").0
    }

    /// The internal listener's address.
    pub(crate) fn internal_addr(&self) -> SocketAddr {
        self.addrs.expect("it was started, not only spawned").1
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Returns its working directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// All lines so far, of both outputs.
    pub(crate) fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Waits for a line that fits, among those that came already or are to come.
    pub(crate) async fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| fits(line)));
        let Ok(Ok(lines)) =
            tokio::time::timeout(BOUND, found).await.map(|found| found.map(|lines| lines.clone()))
        else {
            panic!("the line waited for did not come:\n{}", self.log());
        };
        lines.into_iter().find(|line| fits(line)).expect("the wait ended because there is one")
    }

    /// Waits for so many lines that fit; gives all that do. `fits` must not look at this process's lines itself: it is asked
    /// while no line can be added.
    pub(crate) async fn lines(&self, count: usize, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = self.lines.clone();
        let enough = lines.wait_for(|lines| lines.iter().filter(|line| fits(line)).count() >= count);
        let Ok(Ok(lines)) =
            tokio::time::timeout(BOUND, enough).await.map(|enough| enough.map(|lines| lines.clone()))
        else {
            panic!("fewer than {count} of the lines waited for came:\n{}", self.log());
        };
        lines.into_iter().filter(|line| fits(line)).collect()
    }

    /// Sends a signal; nothing happens when the process has ended already.
    pub(crate) fn signal(&self, signal: Signal) {
        // While the lock is held the exit status is not taken, so the number cannot belong to another process.
        let mut child = self.child.lock().expect("the lock is not poisoned");
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills it as a power cut would: no handler runs.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for its end; the exit code, or none when a signal ended it.
    pub(crate) fn wait(&self) -> impl Future<Output = Option<i32>> + use<> {
        let mut exit = self.exit.clone();
        async move {
            let ended = within("the end of the process", exit.wait_for(Option::is_some)).await;
            let status = *ended.expect("the status is set before its sender goes");
            status.expect("it was waited for").code()
        }
    }

    fn watched(
        child: Child,
        folder: PathBuf,
        own: Option<TempDir>,
        outputs: Vec<Box<dyn Read + Send>>,
    ) -> Self {
        let pid = Pid::from_child(&child);
        let child = Arc::new(Mutex::new(child));
        let (exit_sender, exit) = watch::channel(None);
        let waited = Arc::clone(&child);
        std::thread::spawn(move || {
            // Waits without taking the status: that is done under the lock, see `signal`.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let status = waited.lock().expect("the lock is not poisoned").wait();
            exit_sender.send_replace(status.ok());
        });
        let (line_sender, lines) = watch::channel(Vec::new());
        let line_sender = Arc::new(line_sender);
        for output in outputs {
            let sender = Arc::clone(&line_sender);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
                }
            });
        }
        Self { child, pid, folder, _own: own, lines, exit, addrs: None }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A field of a JSON log line, whether it stands beside the message or under `fields`.
pub(crate) fn field(line: &str, name: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Reads while the process runs: it would stand still before a full pipe.
fn text_of(output: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut output = output.expect("it is piped");
    tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).expect("a pipe can be read to its end");
        String::from_utf8_lossy(&text).into_owned()
    })
}
