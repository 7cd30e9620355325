//! The other languages' programs and libraries, which `scripts/test` brings from the lists in `tests/clients/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::{Launch, Process};

/// Where `scripts/test` has put something; a panic that says so when it is not there, or older than what is asked for.
fn installed(language: &str, list: &str, made_from: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = root.join("target/clients").join(language);
    let wanted =
        std::fs::read(root.join("tests/clients").join(language).join(list)).expect("the list is there");
    let made_from = std::fs::read(home.join(made_from)).unwrap_or_default();
    assert!(
        made_from == wanted,
        "{} is not what tests/clients asks for: run scripts/test, which installs it",
        home.display()
    );
    home
}

/// Runs the first of these files with Python.
pub(super) fn python(files: &[(&str, &str)], (name, value): (&str, &str)) -> Process {
    let home = installed("python", "requirements.txt", "made-from.txt");
    let launch = Launch::program(&home.join("bin/python"), &[files[0].0]);
    let launch = files.iter().fold(launch, |launch, (name, text)| launch.file(name, text));
    launch.env("PORT", "0").env(name, value).spawn()
}

/// Receivers in JavaScript, numbered.
pub(super) struct Compiled {
    node: PathBuf,
    folder: TempDir,
}

/// Compiles the receiver with each of the verifiers, as strictly as the compiler can.
pub(super) async fn typescript(receiver: &str, verifiers: &[String]) -> Compiled {
    let home = installed("node", "package-lock.json", "made-from.json");
    // Inside, because that is where a program looks for its libraries.
    let folder = TempDir::new_in(&home).expect("there is room for a folder");
    let mut sources = Vec::new();
    for (index, verifier) in verifiers.iter().enumerate() {
        let own = folder.path().join(index.to_string());
        std::fs::create_dir(&own).expect("the folder is ours");
        std::fs::write(own.join("verify.ts"), verifier).expect("the folder is ours");
        std::fs::write(own.join("receiver.ts"), receiver).expect("the folder is ours");
        sources.push(own.join("receiver.ts"));
    }
    let mut compiler = Command::new(home.join("node"));
    compiler.arg(home.join("node_modules/typescript/bin/tsc")).current_dir(folder.path());
    compiler.args([
        "--strict",
        "--noUnusedLocals",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--module",
        "nodenext",
    ]);
    compiler.args(["--types", "node"]).args(sources);
    // It takes its time on a busy machine, and ends by itself.
    let output = tokio::task::spawn_blocking(move || compiler.output()).await.expect("it does not panic");
    let output = output.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Compiled { node: home.join("node"), folder }
}

impl Compiled {
    /// Runs one of them.
    pub(super) fn run(&self, index: usize, (name, value): (&str, &str)) -> Process {
        let program = self.folder.path().join(index.to_string()).join("receiver.js");
        let args = [program.to_str().expect("our paths are text")];
        Launch::program(&self.node, &args).env("PORT", "0").env(name, value).spawn()
    }
}
