//! The house keeps to its floor plan: who may name whom, which crates stay in which room, how long things may be.

use std::path::Path;

use crate::support::source::{File, files, rust_files};

/// Each room and the rooms that it may name, in the order of the floors. The reasons stand in `ARCHITECTURE.md`.
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

/// Crates that only some rooms may use.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("reqwest", &["remotepc", "cli"]),
    ("h2", &["egress"]),
    ("hickory_resolver", &["resolver"]),
    ("memchr", &["egress"]),
    ("rustls_native_certs", &["egress"]),
    ("tokio_rustls", &["egress"]),
];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 50;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What in `file` is against the plan, with what to do about it.
fn trespasses(file: &File) -> Vec<String> {
    let place = |line: usize| format!("{}:{line}", file.path.display());
    let Some((_, allowed)) = PLAN.iter().find(|(room, _)| *room == file.room) else {
        return vec![format!(
            "{}: there is no room `{}`: move the file into a room of the plan, or put a new room \
                             into PLAN and ARCHITECTURE.md",
            place(1),
            file.room
        )];
    };
    let rooms = file.rooms.iter().filter(|(room, _)| {
        *room != file.room && !allowed.contains(&room.as_str()) && PLAN.iter().any(|(known, _)| known == room)
    });
    let rooms = rooms.map(|(room, line)| {
        format!(
            "{}: `{}` must not know `{room}`: pass it what it needs from `gateway`, or move the shared part down into \
             a room that both may name ({})",
            place(*line),
            file.room,
            allowed.join(", "),
        )
    });
    let crates = file.names.iter().filter_map(|(name, line)| {
        let (_, rooms) = CRATES.iter().find(|(known, _)| known == name)?;
        (!rooms.contains(&file.room.as_str())).then(|| {
            format!(
                "{}: `{name}` stays in {}: give that room a function for it",
                place(*line),
                rooms.join(", ")
            )
        })
    });
    let long = file.functions.iter().filter(|(_, _, lines)| *lines > MAX_FUNCTION_LINES);
    let long = long.map(|(name, line, lines)| {
        format!(
            "{}: `{name}` has {lines} lines, {MAX_FUNCTION_LINES} are allowed: give its steps names",
            place(*line)
        )
    });
    rooms.chain(crates).chain(long).collect()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "against the floor plan:\n{}", found.join("\n"));
}

#[test]
fn every_room_keeps_to_the_plan() {
    let files = files(root());
    assert!(files.len() > 10, "the source was read");
    assert_none(&files.iter().flat_map(trespasses).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let folders = ["src", "tests", "benches"].map(|folder| root().join(folder));
    let long = folders.iter().flat_map(|folder| rust_files(folder)).filter_map(|path| {
        let lines = std::fs::read_to_string(&path).expect("a source file is text").lines().count();
        (lines > MAX_FILE_LINES).then(|| {
            format!(
                "{}: {lines} lines, {MAX_FILE_LINES} are allowed: cut it where its subject changes",
                path.display()
            )
        })
    });
    assert_none(&long.collect::<Vec<_>>());
}

/// Each of these, planted into a file of `egress`, has to be found.
#[rstest::rstest]
#[case("use crate::store::Store;", "must not know `store`")]
#[case("use crate::{domain::Event, http::Doors};", "must not know `http`")]
#[case("fn f() { crate::gateway::build(); }", "must not know `gateway`")]
#[case("use super::super::dispatch::Driver;", "must not know `dispatch`")]
#[case("mod inner { use super::super::super::intake; }", "must not know `intake`")]
#[case("make!(crate::cli::run);", "must not know `cli`")]
#[case("use sqlx::Row;", "`sqlx` stays in store")]
#[case("fn f(client: reqwest::Client) {}", "`reqwest` stays in remotepc, cli")]
#[case("use sqlx as database;", "`sqlx` stays in store")]
#[case("#[derive(sqlx::FromRow)] struct Row;", "`sqlx` stays in store")]
fn what_is_planted_is_found(#[case] planted: &str, #[case] expected: &str) {
    let file = File::read(Path::new("src/egress/guard.rs"), planted);
    let found = trespasses(&file);
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
fn what_is_allowed_is_let_through(#[case] text: &str) {
    assert_eq!(trespasses(&File::read(Path::new("src/egress/guard.rs"), text)), Vec::<String>::new());
}

#[test]
fn a_long_function_and_an_unknown_room_are_found() {
    let body = "    step();\n".repeat(MAX_FUNCTION_LINES - 2);
    let file = |room: &str, end: &str| File::read(Path::new(room), &format!("fn long() {{\n{body}{end}}}\n"));
    assert!(trespasses(&file("src/notifier.rs", "step();\n"))[0].contains("51 lines"));
    assert_none(&trespasses(&file("src/notifier.rs", "")));
    assert!(trespasses(&file("src/cellar/wine.rs", ""))[0].contains("no room `cellar`"));
}
