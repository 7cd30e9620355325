//! Cells of tables that people open in a spreadsheet.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, regardless of its author. It may
//! also split a cell at another separator than the one that was meant. An apostrophe at such a position makes the
//! cell text.

/// Characters that begin a formula, with their full-width forms; a tabulator or a carriage return may hide one.
const STARTS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
/// Characters after which a spreadsheet may begin another cell.
const SEPARATORS: [char; 6] = [',', ';', '|', '\t', '\r', '\n'];

/// Returns the cell with apostrophes, so that no spreadsheet runs any part of it. [`restored`] is the inverse.
#[must_use]
pub fn defused(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len() + 1);
    for (position, character) in cell.char_indices() {
        if is_start(cell, position) && begins_formula(&cell[position..]) {
            text.push('\'');
        }
        text.push(character);
    }
    text
}

/// Returns the cell that [`defused`] was given.
#[must_use]
pub fn restored(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for (position, character) in cell.char_indices() {
        let added = character == '\'' && is_start(cell, position) && begins_formula(&cell[position..]);
        if !added {
            text.push(character);
        }
    }
    text
}

/// Returns whether a cell may begin here, for a spreadsheet that splits at any separator.
fn is_start(cell: &str, position: usize) -> bool {
    cell[..position].chars().next_back().is_none_or(|before| SEPARATORS.contains(&before))
}

/// Returns whether a formula begins here, after apostrophes and spaces.
fn begins_formula(text: &str) -> bool {
    let text = text.trim_start_matches('\'');
    let is_space = |c: char| c.is_whitespace() && !SEPARATORS.contains(&c);
    text.trim_start_matches(is_space).starts_with(STARTS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{defused, restored};

    #[rstest::rstest]
    #[case("jane@example.com", "jane@example.com")]
    #[case("=1+1", "'=1+1")]
    #[case("+4712", "'+4712")]
    #[case("-1", "'-1")]
    #[case("@sum", "'@sum")]
    #[case("'=1", "''=1")]
    #[case("'quoted'", "'quoted'")]
    #[case("  =1", "'  =1")]
    #[case("\t=1", "'\t'=1")]
    #[case("\r", "'\r")]
    #[case("\u{ff1d}1", "'\u{ff1d}1")]
    #[case("a;=1", "a;'=1")]
    #[case("a\n-1", "a\n'-1")]
    #[case("a, b", "a, b")]
    #[case("", "")]
    fn formulas_become_text(#[case] cell: &str, #[case] expected: &str) {
        assert_eq!(defused(cell), expected);
        assert_eq!(restored(expected), cell);
    }

    proptest! {
        #[test]
        fn every_cell_comes_back(cell in "[=+@',; \t\r\na\u{ff1d}\u{a0}-]{0,12}") {
            prop_assert_eq!(restored(&defused(&cell)), cell.clone());
            for part in defused(&cell).split([',', ';', '|', '\t', '\r', '\n']) {
                prop_assert!(!part.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}']), "{part:?}");
            }
        }
    }
}
