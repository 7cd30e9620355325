//! The module plan of `ARCHITECTURE.md`: which module imports which, which crates stay in which module, no import circles,
//! and sizes.

use std::path::Path;
use std::process::Command;

use crate::support::source::{File, files, rust_files};

/// Each module and the modules that it may import, the highest first. The reasons stand in `ARCHITECTURE.md`.
const PLAN: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli"]),
    ("cli", &["gateway", "config", "domain", "telemetry", "lifecycle"]),
    (
        "gateway",
        &[
            "http",
            "audited",
            "authentications",
            "dispatch",
            "provisioning",
            "retention",
            "clock_steps",
            "intake",
            "egress",
            "remotepc",
            "resolver",
            "notifier",
            "fast_path",
            "store",
            "context",
            "config",
            "domain",
            "telemetry",
            "lifecycle",
        ],
    ),
    (
        "http",
        &[
            "authentications",
            "audited",
            "intake",
            "remotepc",
            "egress",
            "store",
            "context",
            "notifier",
            "domain",
            "telemetry",
            "lifecycle",
        ],
    ),
    ("audited", &["remotepc", "store", "context", "domain", "telemetry", "lifecycle"]),
    ("clock_steps", &["dispatch", "store", "context", "domain", "lifecycle"]),
    ("authentications", &["store", "context", "notifier", "domain", "telemetry", "lifecycle"]),
    (
        "provisioning",
        &["audited", "remotepc", "store", "context", "notifier", "domain", "telemetry", "lifecycle"],
    ),
    ("retention", &["store", "context", "domain", "telemetry", "lifecycle"]),
    (
        "dispatch",
        &["egress", "store", "context", "notifier", "fast_path", "domain", "telemetry", "lifecycle"],
    ),
    ("intake", &["store", "context", "notifier", "fast_path", "domain", "telemetry", "lifecycle"]),
    ("context", &["store", "notifier", "domain", "telemetry", "lifecycle"]),
    ("store", &["notifier", "domain", "telemetry"]),
    ("notifier", &["domain", "telemetry", "lifecycle"]),
    ("fast_path", &["domain"]),
    ("egress", &["resolver", "domain", "telemetry"]),
    ("remotepc", &["resolver", "domain", "telemetry"]),
    ("resolver", &["domain"]),
    ("config", &["domain", "telemetry"]),
    ("domain", &[]),
    ("telemetry", &[]),
    ("lifecycle", &[]),
];

/// Crates that only some modules may use.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("reqwest", &["remotepc", "cli"]),
    ("h2", &["egress"]),
    ("hickory_resolver", &["resolver"]),
    ("memchr", &["egress"]),
    ("rustls_native_certs", &["egress"]),
    ("tokio_rustls", &["egress"]),
];

/// Sizes in lines: bounds of the median, and of 90 % of all. A longer file or function that is one thought may stay.
const FILES: Sizes = Sizes { median: 150, ninetieth: 300 };
const TEST_FILES: Sizes = Sizes { median: 200, ninetieth: 300 };
const FUNCTIONS: Sizes = Sizes { median: 10, ninetieth: 25 };

struct Sizes {
    median: usize,
    ninetieth: usize,
}

impl Sizes {
    /// Fails when `sizes` exceed the bounds.
    fn check(&self, what: &str, mut sizes: Vec<usize>) {
        sizes.sort_unstable();
        let at = |percent: usize| sizes[sizes.len() * percent / 100];
        let (median, ninetieth) = (at(50), at(90));
        assert!(
            median < self.median && ninetieth <= self.ninetieth,
            "{what}: median {median}, allowed is less than {}; 90 % have up to {ninetieth} lines, allowed are {}",
            self.median,
            self.ninetieth
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Imports of `file` that the plan does not allow, with advice.
fn violations(file: &File) -> Vec<String> {
    let place = |line: usize| format!("{}:{line}", file.path.display());
    let Some((_, allowed)) = PLAN.iter().find(|(module, _)| *module == file.module) else {
        return vec![format!(
            "{}: there is no module `{}`: move the file into a module of the plan, or add the module to PLAN and \
             ARCHITECTURE.md",
            place(1),
            file.module
        )];
    };
    let modules = file.modules.iter().filter(|(module, _)| {
        *module != file.module
            && !allowed.contains(&module.as_str())
            && PLAN.iter().any(|(known, _)| known == module)
    });
    let modules = modules.map(|(module, line)| {
        format!(
            "{}: `{}` must not import `{module}`: pass it what it needs from `gateway`, or move the shared part down into \
             a module that both may import ({})",
            place(*line),
            file.module,
            allowed.join(", "),
        )
    });
    let crates = file.names.iter().filter_map(|(name, line)| {
        let (_, modules) = CRATES.iter().find(|(known, _)| known == name)?;
        (!modules.contains(&file.module.as_str())).then(|| {
            format!(
                "{}: `{name}` stays in {}: give that module a function for it",
                place(*line),
                modules.join(", ")
            )
        })
    });
    modules.chain(crates).collect()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "against the plan:\n{}", found.join("\n"));
}

#[test]
fn imports_follow_the_plan() {
    let files = files(root());
    assert!(files.len() > 10, "the source was read");
    assert_none(&files.iter().flat_map(violations).collect::<Vec<_>>());
}

#[test]
fn no_files_import_each_other_and_no_type_name_means_two_things() {
    let check = Command::new(root().join("scripts/structure")).arg("--check").output().expect("it runs");
    assert!(
        check.status.success(),
        "{}{}",
        String::from_utf8_lossy(&check.stdout),
        String::from_utf8_lossy(&check.stderr)
    );
}

#[test]
fn files_and_functions_are_short() {
    for (folder, bounds) in [("src", FILES), ("tests", TEST_FILES)] {
        let lines = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).expect("a source file is text").lines().count()
        };
        bounds.check(folder, rust_files(&root().join(folder)).iter().map(lines).collect());
    }
    let functions = files(root()).into_iter().flat_map(|file| file.functions);
    FUNCTIONS.check("functions", functions.map(|(_, _, lines)| lines).collect());
}

#[rstest::rstest]
#[case(&[1, 149, 149, 150, 300], true)]
#[case(&[1, 149, 150, 150, 300], false)]
#[case(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 300], true)]
#[case(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 301], false)]
#[case(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 900], true)]
fn sizes_beyond_the_bounds_are_found(#[case] sizes: &[usize], #[case] allowed: bool) {
    let checked = std::panic::catch_unwind(|| FILES.check("files", sizes.to_vec()));
    assert_eq!(checked.is_ok(), allowed);
}

/// Each of these, planted into a file of `egress`, has to be found.
#[rstest::rstest]
#[case("use crate::store::Store;", "must not import `store`")]
#[case("use crate::{domain::Event, http::Router};", "must not import `http`")]
#[case("fn f() { crate::gateway::build(); }", "must not import `gateway`")]
#[case("use super::super::dispatch::Driver;", "must not import `dispatch`")]
#[case("mod inner { use super::super::super::intake; }", "must not import `intake`")]
#[case("make!(crate::cli::run);", "must not import `cli`")]
#[case("use sqlx::Row;", "`sqlx` stays in store")]
#[case("fn f(client: reqwest::Client) {}", "`reqwest` stays in remotepc, cli")]
#[case("use sqlx as database;", "`sqlx` stays in store")]
#[case("#[derive(sqlx::FromRow)] struct Row;", "`sqlx` stays in store")]
fn a_forbidden_import_is_found(#[case] planted: &str, #[case] expected: &str) {
    let file = File::read(Path::new("src/egress/guard.rs"), planted);
    let found = violations(&file);
    assert!(matches!(&found[..], [one] if one.contains(expected)), "{found:?}");
}

#[rstest::rstest]
#[case("use crate::domain::Event; use super::client; use self::x; use h2::Reason;")]
#[case("// use crate::store::Store;")]
#[case("/// See [`crate::http`].\nstruct S;")]
#[case("#[cfg(test)] #[derive(Debug)] mod tests { use crate::store::Store; }")]
#[case("#[cfg(test)] use crate::{store::Store};")]
#[case("#[cfg(test)] mod tests;")]
#[case("use super::super::egress::guard;")]
fn an_allowed_import_is_no_violation(#[case] text: &str) {
    assert_eq!(violations(&File::read(Path::new("src/egress/guard.rs"), text)), Vec::<String>::new());
}

#[test]
fn a_file_outside_of_the_plan_is_found() {
    let found = violations(&File::read(Path::new("src/cellar/wine.rs"), ""));
    assert!(found[0].contains("no module `cellar`"), "{found:?}");
}
