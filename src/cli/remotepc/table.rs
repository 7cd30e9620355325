//! Tables as spreadsheets write them: encodings, separators, empty columns.

use anyhow::{Context, ensure};

use super::user_row::UserOperation;

/// Decodes a file in UTF-8, or in UTF-16 with a byte-order mark.
pub(super) fn decode(bytes: Vec<u8>) -> anyhow::Result<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes.as_slice() {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => {
            return String::from_utf8(bytes).context(
                "it is not UTF-8, probably Windows-1252 or Shift_JIS; in Excel save it as \"CSV UTF-8\", \
                 or convert it with iconv -f WINDOWS-1252 -t UTF-8",
            );
        }
    };
    let (pairs, rest) = bytes.as_chunks();
    ensure!(rest.is_empty(), "it is UTF-16 with half a character at its end");
    let units: Vec<_> = pairs.iter().map(|pair| unit(*pair)).collect();
    String::from_utf16(&units).context("it has the byte-order mark of UTF-16 and is not UTF-16")
}

/// Columns that a result file adds.
pub(super) const ADDED: [&str; 3] = ["status", "description", "at"];

/// Separator of a table, and the table without the line `sep=` that Excel reads.
///
/// Without that line the separator is the one that yields the most known columns; a comma wins a tie.
///
/// # Errors
/// `sep=` names a character that is not ASCII.
pub(super) fn separator(text: &str, kind: UserOperation) -> anyhow::Result<(u8, &str)> {
    let (first, rest) = text.split_once(['\r', '\n']).unwrap_or((text, ""));
    let named = first.trim_matches('"').get(..4).filter(|start| start.eq_ignore_ascii_case("sep="));
    if let (Some(_), Some(&separator)) = (named, first.trim_matches('"').as_bytes().get(4)) {
        ensure!(
            separator.is_ascii() && separator != b'"',
            "the separator behind `sep=` is one ASCII character"
        );
        return Ok((separator, rest.strip_prefix('\n').unwrap_or(rest)));
    }
    let head = text.trim_start().split(['\r', '\n']).next().unwrap_or_default();
    let known = |separator: u8| {
        let cells = head.split(char::from(separator)).map(|cell| cell.trim().trim_matches('"').trim());
        cells.filter(|cell| kind.columns().iter().any(|name| name.eq_ignore_ascii_case(cell))).count()
    };
    // `max_by_key` takes the last of equals.
    let best = [b'|', b'\t', b';', b','].into_iter().max_by_key(|separator| known(*separator));
    Ok((best.unwrap_or(b','), text))
}

/// Returns the header in the documented spelling, without empty columns at its end.
pub(super) fn canonical(headers: &csv::StringRecord, kind: UserOperation) -> csv::StringRecord {
    let known = kind.columns();
    let names = known.iter().copied().chain(ADDED);
    let spell =
        |cell: &str| names.clone().find(|name| name.eq_ignore_ascii_case(cell)).unwrap_or(cell).to_owned();
    let mut record: csv::StringRecord = headers.iter().map(spell).collect();
    trim_empty_cells(&mut record, 1);
    record
}

/// Removes empty cells at the end of a row that has more than `width`.
pub(super) fn trim_empty_cells(record: &mut csv::StringRecord, width: usize) {
    let filled = record.iter().enumerate().filter(|(_, cell)| !cell.trim().is_empty());
    let used = filled.last().map_or(0, |(last, _)| last + 1);
    if record.len() > width {
        record.truncate(used.max(width));
    }
}

/// Numbers of rows as spreadsheets count them: empty rows count, and a cell with line breaks is one row.
pub(super) struct RowNumbers {
    /// Offset of each row in bytes.
    starts: Vec<u64>,
}

impl RowNumbers {
    pub(super) fn of(text: &str, separator: u8) -> Self {
        let mut starts = vec![0];
        let mut quoted = false;
        let mut at_cell = true;
        let mut bytes = (1_u64..).zip(text.bytes()).peekable();
        while let Some((next, byte)) = bytes.next() {
            let follows = |byte: u8, bytes: &mut std::iter::Peekable<_>| {
                bytes.peek().is_some_and(|(_, following): &(u64, u8)| *following == byte)
            };
            match byte {
                b'"' if quoted => {
                    if follows(b'"', &mut bytes) {
                        bytes.next();
                    } else {
                        quoted = false;
                    }
                }
                _ if quoted => {}
                b'"' if at_cell => quoted = true,
                b'\n' => starts.push(next),
                b'\r' if !follows(b'\n', &mut bytes) => starts.push(next),
                _ => {}
            }
            at_cell = !quoted && (byte == separator || byte == b'\n' || byte == b'\r');
        }
        Self { starts }
    }

    /// Returns the number of the row that ends before this offset. The first row is 1.
    pub(super) fn at(&self, end: u64) -> usize {
        self.starts.partition_point(|start| *start < end)
    }
}
