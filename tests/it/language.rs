//! Comments and names follow the language rule of `CONTRIBUTING.md`: plain sentences that name their subject.

use std::path::{Path, PathBuf};

/// First words by which a doc comment leaves its subject open.
const OPENINGS: [&str; 24] = [
    "what", "who", "whom", "where", "when", "how", "whether", "which", "why", "whose", "it", "he", "she",
    "they", "this", "that", "these", "those", "there", "here", "nobody", "somebody", "anybody", "whoever",
];
/// Words that stand for an unnamed subject.
const UNNAMED: [&str; 5] = ["nobody", "somebody", "anybody", "whoever", "whom"];
/// Names of constants that do not say what they bound.
const VAGUE: [&str; 4] = ["PATIENCE", "AGAIN", "ROOM", "MOST"];
/// Maximum share of doc comments with such an opening, in percent.
const MAX_OPENINGS: usize = 5;

/// One doc comment, as one line of text.
#[derive(Debug, PartialEq, Eq)]
struct Doc {
    line: usize,
    text: String,
}

/// Doc comments of a source text. Consecutive lines of the same kind are one comment.
fn docs(source: &str) -> Vec<Doc> {
    let mut docs: Vec<Doc> = Vec::new();
    let mut before = None;
    for (line, text) in (1..).zip(source.lines()) {
        let text = text.trim_start();
        let kind =
            ["///", "//!"].into_iter().find(|kind| text.starts_with(kind) && !text.starts_with("////"));
        if let Some(kind) = kind {
            let text = text[3..].trim();
            match docs.last_mut().filter(|_| before == Some(kind)) {
                Some(doc) => doc.text = format!("{} {text}", doc.text),
                None => docs.push(Doc { line, text: text.to_owned() }),
            }
        }
        before = kind;
    }
    docs
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn opens_without_subject(doc: &Doc) -> bool {
    words(&doc.text).next().is_some_and(|first| OPENINGS.contains(&first.as_str()))
}

fn speaks_of_nobody(doc: &Doc) -> bool {
    // Names of fields and parameters stand in backticks.
    let prose = doc.text.split('`').step_by(2).collect::<String>();
    words(&prose).any(|word| UNNAMED.contains(&word.as_str()))
}

/// Code of a line, without strings and comments.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => drop(characters.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if !quoted => code.push(character),
            _ => {}
        }
    }
    code
}

fn binds_it(line: &str) -> bool {
    let code = code(line);
    [
        "|it|",
        "|&it|",
        "|it:",
        "let it =",
        "let it:",
        "let mut it =",
        "for it in ",
        "(it:",
        ", it:",
        "Some(it)",
        "Ok(it)",
        "Err(it)",
    ]
    .iter()
    .any(|binding| code.contains(binding))
}

/// Returns whether a line binds several values by one `let` that takes nothing apart, as `let (a, b) = (x, y)` does.
fn binds_a_tuple(line: &str) -> bool {
    let code = code(line);
    let Some((_, rest)) = code.split_once("let (") else { return false };
    let Some((names, value)) = rest.split_once(") = (") else { return false };
    let plain = names.split(',').all(|name| {
        let name = name.trim().trim_start_matches("mut ");
        !name.is_empty() && name.chars().all(|character| character.is_ascii_lowercase() || character == '_')
    });
    // A call or a method on the tuple takes it apart.
    plain && names.contains(',') && value.trim_end().ends_with(");")
}

fn has_vague_name(line: &str) -> bool {
    let code = code(line);
    let name = code.split_once("const ").and_then(|(_, rest)| rest.split(':').next());
    name.is_some_and(|name| VAGUE.contains(&name.trim()))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All source files with their text.
fn crate_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn doc_comments_name_their_subject() {
    let all: Vec<_> = crate_sources()
        .into_iter()
        .flat_map(|(path, text)| docs(&text).into_iter().map(move |doc| (path.clone(), doc)))
        .collect();
    let listed = |wrong: &[&(PathBuf, Doc)]| -> String {
        let lines = wrong.iter().map(|(path, doc)| format!("{}:{}: {}", path.display(), doc.line, doc.text));
        lines.collect::<Vec<_>>().join("\n")
    };
    let openings: Vec<_> = all.iter().filter(|(_, doc)| opens_without_subject(doc)).collect();
    assert!(
        openings.len() * 100 <= all.len() * MAX_OPENINGS,
        "{} of {}:{}",
        openings.len(),
        all.len(),
        listed(&openings)
    );
    let unnamed: Vec<_> = all.iter().filter(|(_, doc)| speaks_of_nobody(doc)).collect();
    assert!(unnamed.is_empty(), "{}", listed(&unnamed));
}

#[test]
fn names_say_what_they_stand_for() {
    let mut wrong = Vec::new();
    for (path, text) in crate_sources() {
        for (number, line) in (1..).zip(text.lines()) {
            if binds_it(line) || binds_a_tuple(line) || has_vague_name(line) {
                wrong.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[rstest::rstest]
#[case("/// What it is.", true)]
#[case("/// `Whether` it is.", true)]
#[case("//! This module.", true)]
#[case("/// Returns what it is.", false)]
#[case("/// Maximum number\n/// of what.", false)]
#[case("let a = \"/// What\";", false)]
#[case("// What it is.", false)]
fn an_opening_is_found(#[case] source: &str, #[case] expected: bool) {
    assert_eq!(docs(source).iter().any(opens_without_subject), expected);
}

#[rstest::rstest]
#[case("/// Wakes whoever waits.", true)]
#[case("/// Returns the user\n/// whom it is about.", true)]
#[case("/// The field `whom`.", false)]
fn an_unnamed_subject_is_found(#[case] source: &str, #[case] expected: bool) {
    assert_eq!(docs(source).iter().any(speaks_of_nobody), expected);
}

#[rstest::rstest]
#[case("let it = 1;", true)]
#[case("all.map(|it| it.name)", true)]
#[case("for it in all {", true)]
#[case("fn f(it: &Row) {", true)]
#[case("let text = \"|it|\"; // |it|", false)]
#[case("let unit = 1;", false)]
fn a_binding_called_it_is_found(#[case] line: &str, #[case] expected: bool) {
    assert_eq!(binds_it(line), expected);
}

#[rstest::rstest]
#[case("let (a, b) = (1, 2);", true)]
#[case("let (mut a, b) = (f(1), 2);", true)]
#[case("let (a, b) = pair;", false)]
#[case("let (Some(a), Some(b)) = (a, b) else { return };", false)]
#[case("let (a, b) = (x, y).sorted()", false)]
fn a_tuple_binding_is_found(#[case] line: &str, #[case] expected: bool) {
    assert_eq!(binds_a_tuple(line), expected);
}

#[rstest::rstest]
#[case("const PATIENCE: Duration = X;", true)]
#[case("pub const MOST: usize = 1;", true)]
#[case("const MOST_PER_TICKET: usize = 1;", false)]
fn a_vague_constant_is_found(#[case] line: &str, #[case] expected: bool) {
    assert_eq!(has_vague_name(line), expected);
}
