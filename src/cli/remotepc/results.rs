//! Result files.
//!
//! A result file holds every row from the start, `pending`, and gets a further row for each that is done, so that a run
//! which is killed loses neither what was done nor what was not. At its end, also at its end by a signal, a run leaves one row for
//! each person. A spreadsheet opens the file: it is UTF-8 with a byte-order mark, its lines end with CR LF, its separator is that
//! of the input, and no cell is run as a formula.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::csv_file::{CsvFile, Row, RowOutcome};
use super::table::ADDED;
use crate::domain::defused;

/// Result file that is being written.
pub(super) struct Results<'a> {
    path: &'a Path,
    file: File,
    separator: u8,
}

impl<'a> Results<'a> {
    /// Writes all rows of `sheet`, in the place of an earlier file.
    pub(super) fn begin(path: &'a Path, sheet: &CsvFile) -> anyhow::Result<Self> {
        write(sheet, path)?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("failed to write {}", path.display()))?;
        Ok(Self { path, file, separator: sheet.separator })
    }

    /// Adds the outcome of a row, which is on disk when this returns.
    pub(super) fn add(&mut self, row: &Row) -> anyhow::Result<()> {
        let mut add = || {
            self.file.write_all(&record(row, self.separator)?)?;
            self.file.sync_data()
        };
        add().with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Replaces the file by one with a row for each user.
    pub(super) fn end(self, sheet: &CsvFile) -> anyhow::Result<()> {
        write(sheet, self.path)
    }
}

/// The whole file.
pub(super) fn table(sheet: &CsvFile) -> io::Result<Vec<u8>> {
    let added = ADDED.map(str::to_owned);
    let mut all = "\u{feff}".as_bytes().to_vec();
    all.extend(line(sheet.columns().iter().chain(&added).chain(&sheet.extras), sheet.separator)?);
    for row in sheet.rows.iter().chain(&sheet.kept) {
        all.extend(record(row, sheet.separator)?);
    }
    Ok(all)
}

/// Replaces the file atomically.
fn write(sheet: &CsvFile, path: &Path) -> anyhow::Result<()> {
    let beside = PathBuf::from(format!("{}.part", path.display()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&table(sheet)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

fn record(row: &Row, separator: u8) -> io::Result<Vec<u8>> {
    let RowOutcome { status, description, at } = &row.outcome;
    line(row.cells.iter().chain([status, description, at]).chain(&row.extras), separator)
}

fn line<'c>(cells: impl Iterator<Item = &'c String>, separator: u8) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(cells.map(|cell| defused(cell)))?;
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}
