//! The code that `docs/` shows, and the other languages' programs and libraries to run it with, which `scripts/test` brings
//! from the lists in `tests/clients/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Launch;

/// Files of a program by their names, the main one first.
pub(crate) type Files<'f> = [(&'f str, &'f str)];

/// The first block in `language` below a heading of the third level on a page of `docs/`.
pub(crate) fn snippet(page: &str, heading: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (_, rest) =
        page.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = rest.split("\n#").next().unwrap_or_default();
    let (_, rest) = section.split_once(&format!("```{language}\n")).expect("code stands below it");
    rest.split_once("```").expect("it ends").0.to_owned()
}

/// Returns the path of something that `scripts/test` has installed; panics when it is missing or outdated.
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

/// A program that `scripts/test` has installed with the system's packages.
fn on_the_path(names: &[&str]) -> PathBuf {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"].map(Path::new);
    let found =
        names.iter().flat_map(|name| folders.map(|folder| folder.join(name))).find(|item| item.exists());
    found.unwrap_or_else(|| panic!("there is no {}: run scripts/test, which installs it", names[0]))
}

fn with_files(launch: Launch, files: &Files<'_>) -> Launch {
    files.iter().fold(launch, |launch, (name, text)| launch.file(name, text))
}

fn args<'a>(main: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[main], more].concat()
}

/// To run the first of these files with Python.
pub(crate) fn python(files: &Files<'_>, more: &[&str]) -> Launch {
    let home = installed("python", "requirements.txt", "made-from.txt");
    with_files(Launch::program(&home.join("bin/python"), &args(files[0].0, more)), files)
}

/// To run the first of these files with PHP.
pub(crate) fn php(files: &Files<'_>, more: &[&str]) -> Launch {
    with_files(Launch::program(&on_the_path(&["php"]), &args(files[0].0, more)), files)
}

/// To look at a page in a browser without a window. It tells on standard error what the page writes to the console.
pub(crate) fn browser(url: &str) -> Launch {
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--remote-debugging-port=0",
        "--user-data-dir=profile",
    ];
    let program = on_the_path(&["chromium", "chromium-browser", "google-chrome"]);
    Launch::program(&program, &[&fixed[..], &[url]].concat())
}

/// Programs in JavaScript, numbered.
pub(crate) struct Compiled {
    node: PathBuf,
    folder: TempDir,
    mains: Vec<PathBuf>,
}

/// Programs in JavaScript as they are.
pub(crate) fn javascript(programs: &[&Files<'_>]) -> Compiled {
    let home = installed("node", "package-lock.json", "made-from.json");
    // Inside, because that is where a program looks for its libraries.
    let folder = TempDir::new_in(&home).expect("failed to create a temporary folder");
    let mut mains = Vec::new();
    for (index, files) in programs.iter().enumerate() {
        let own = folder.path().join(index.to_string());
        std::fs::create_dir(&own).expect("the folder is ours");
        for (name, text) in *files {
            std::fs::write(own.join(name), text).expect("the folder is ours");
        }
        mains.push(own.join(files[0].0));
    }
    Compiled { node: home.join("node"), folder, mains }
}

/// Compiles programs in TypeScript, as strictly as the compiler can.
pub(crate) async fn typescript(programs: &[&Files<'_>]) -> Compiled {
    let written = javascript(programs);
    let home = installed("node", "package-lock.json", "made-from.json");
    let mut compiler = Command::new(&written.node);
    compiler.arg(home.join("node_modules/typescript/bin/tsc")).current_dir(written.folder.path());
    compiler.args(["--strict", "--noUnusedLocals", "--skipLibCheck", "--target", "es2022"]);
    compiler.args(["--module", "nodenext", "--types", "node"]).args(&written.mains);
    // It takes its time on a busy machine, and ends by itself.
    let output = tokio::task::spawn_blocking(move || compiler.output()).await.expect("it does not panic");
    let output = output.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mains = written.mains.iter().map(|main| main.with_extension("js")).collect();
    Compiled { mains, ..written }
}

impl Compiled {
    /// To run one of them.
    pub(crate) fn launch(&self, index: usize, more: &[&str]) -> Launch {
        let main = self.mains[index].to_str().expect("our paths are text");
        Launch::program(&self.node, &args(main, more))
    }
}
