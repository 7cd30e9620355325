//! What the repository itself promises: its scripts run, its lock is clean, its migrations are twins, its links lead
//! somewhere.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// Returns the files in `folder` by path; empty when there is no such folder.
fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    folder
        .read_dir()
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect()
}

#[test]
fn scripts_can_be_run() {
    let scripts = entries(&root().join("scripts")).into_iter().chain([root().join(".ci/run")]);
    for script in scripts {
        let mode = script.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}: `chmod +x`, and commit it", script.display());
        let text = read(&script);
        // Python stops at the first fault by itself.
        if text.starts_with("#!/usr/bin/env python3\n") {
            continue;
        }
        assert!(
            text.starts_with("#!/usr/bin/env bash\n"),
            "{}: begins with its interpreter",
            script.display()
        );
        assert!(text.contains("\nset -euo pipefail\n"), "{}: stops at the first fault", script.display());
    }
}

/// A fresh machine has what `scripts/test` brings, and nothing else.
#[test]
fn ci_runs_the_tests_and_nothing_else() {
    let text = read(".ci/run");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines, ["set -euo pipefail", r#"exec "$(dirname "${BASH_SOURCE[0]}")/../scripts/test""#]);
}

#[test]
fn one_tls_library_with_one_backend() {
    let lock: toml::Table = read("Cargo.lock").parse().expect("cargo writes TOML");
    let packages = lock["package"].as_array().expect("a list");
    let names: BTreeSet<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    assert!(names.contains("ring"));
    let banned = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];
    let found: Vec<_> = banned.into_iter().filter(|name| names.contains(name)).collect();
    assert!(
        found.is_empty(),
        "{found:?} came in: `cargo tree -i` says by whom; switch its default features off"
    );
}

/// An installation from any registry gets the versions that were tested.
#[test]
fn lists_of_client_libraries_are_exact_and_name_no_registry() {
    let lock = read("tests/clients/node/package-lock.json");
    assert!(
        !lock.contains("\"resolved\"") && !lock.contains("://"),
        "npm has to omit them: see .npmrc beside it"
    );
    let list = read("tests/clients/python/requirements.txt");
    let packages = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let vague: Vec<_> = packages.filter(|line| !line.contains("==") || line.contains("://")).collect();
    assert!(vague.is_empty(), "{vague:?}: name==version, and nothing else");
}

#[test]
fn migrations_are_twins() {
    let names = |engine: &str| -> BTreeSet<_> {
        let files = entries(&root().join("migrations").join(engine));
        files.iter().map(|path| path.file_name().expect("it has one").to_owned()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"), "each step stands in both folders, under the same name");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages(&[
        "",
        "docs",
        "docs/how-to",
        "docs/reference",
        "docs/explanation",
        "docs/decisions",
        "migrations",
        "config",
    ]) {
        for target in links(&read(&page)) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = page.parent().expect("a page is in a folder");
            let linked = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(linked.exists(), "{}: ({target}) leads nowhere", page.display());
            let found = anchor.is_empty() || anchors(&read(&linked)).contains(anchor);
            assert!(found, "{}: ({target}): no heading has this anchor", page.display());
        }
    }
}

#[test]
fn the_index_of_the_documentation_names_each_page() {
    let [index, summary] = ["docs/README.md", "docs/SUMMARY.md"].map(|page| read(root().join(page)));
    let listed = |page: &str, name: &str| links(page).contains(&name);
    for page in pages(&["docs", "docs/how-to", "docs/reference", "docs/explanation"]) {
        let name = page.strip_prefix(root().join("docs")).expect("a page of docs").display().to_string();
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(name == "README.md" || listed(&index, &name), "docs/README.md does not name {name}");
        assert!(listed(&summary, &name), "docs/SUMMARY.md does not name {name}");
        let text = read(&page);
        let first = text.lines().nth(2).unwrap_or_default();
        assert!(
            first.starts_with("This page "),
            "{name}: its first line says what the page is for, not: {first}"
        );
    }
}

#[test]
fn messages_of_the_log_reference_are_those_of_the_program() {
    let joined = |path: PathBuf| {
        let text = read(path);
        text.split("\\\n").map(str::trim_start).collect::<String>()
    };
    let source: String =
        crate::support::source::rust_files(&root().join("src")).into_iter().map(joined).collect();
    let page = read(root().join("docs/reference/logs.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let messages = rows.filter_map(|row| row.split(" |").next()).flat_map(|cell| cell.split('`'));
    let unknown: Vec<_> = messages
        .flat_map(|message| message.split("..."))
        .map(|part| part.trim_matches([' ', ';', ',']))
        .filter(|part| part.contains(' ') && !part.contains("also") && !source.contains(part))
        .collect();
    assert!(unknown.is_empty(), "no source file has these messages: {unknown:?}");
}

/// Pages of Markdown that are directly in `folders`.
fn pages(folders: &[&str]) -> Vec<PathBuf> {
    let files = folders.iter().flat_map(|folder| entries(&root().join(folder)));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Targets of `[text](target)`, without those outside of the repository.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// Anchors of a page's headings: lower case, hyphens for spaces, without other punctuation.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    headings
        .map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn links_are_seen() {
    assert_eq!(
        links(
            "[a](docs/api.md#x) [b](https://x.y) [c](#here) ![d](e.png) [e](mailto:a@b) [f](migrations/README.md)"
        ),
        ["docs/api.md#x", "#here", "e.png", "migrations/README.md"]
    );
    assert_eq!(
        anchors("# Two words\n## `Idempotency-Key`: what, for?\ntext"),
        BTreeSet::from(["two-words".to_owned(), "idempotency-key-what-for".to_owned()])
    );
}
