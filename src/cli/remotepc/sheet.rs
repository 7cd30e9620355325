//! The files of bulk work: rows of people, and what became of each.
//!
//! A result file holds every row from the start, `pending`, and gets a further row for each that is done, so that a run
//! which is broken off, however it is, loses neither what was done nor what was not. At its end a run leaves one row for
//! each. Passwords are read and never written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;

use super::person::{Kind, PASSWORD, Person};
use super::table::{canonical, decode, separator, trim_empty_cells};

/// What a result file adds.
pub(super) const ADDED: [&str; 3] = ["status", "description", "at"];

const PENDING: &str = "pending";
pub(super) const OK: &str = "ok";
pub(super) const FAILED: &str = "failed";

/// A table of people.
pub(super) struct Sheet {
    columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Rows of an earlier result whose people are not in the present file. They stay in the result.
    kept: Vec<Row>,
    /// Whether an earlier run has written it.
    is_result: bool,
}

/// One person, and how far it has come.
pub(super) struct Row {
    cells: Vec<String>,
    password: Option<SecretString>,
    pub(super) outcome: Outcome,
}

/// What the added columns say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: String,
    pub(super) description: String,
    pub(super) at: String,
}

impl Outcome {
    pub(super) fn pending(at: &str) -> Self {
        Self { status: PENDING.to_owned(), description: String::new(), at: at.to_owned() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.status == OK
    }
}

impl Row {
    /// Whom it is about; `password` is for those that have none of their own.
    pub(super) fn person(&self, kind: Kind, columns: &[String], password: Option<&SecretString>) -> Person {
        let cells: Vec<_> = columns.iter().cloned().zip(self.cells.iter().cloned()).collect();
        Person::new(kind, &cells, self.password.clone().or_else(|| password.cloned()))
    }

    /// Whether it has a password of its own.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    fn record(&self) -> io::Result<Vec<u8>> {
        let Outcome { status, description, at } = &self.outcome;
        line(self.cells.iter().chain([status, description, at]))
    }
}

impl Sheet {
    /// The columns that people have, but for the password.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Refuses to be written over: what somebody has written by hand, passwords too, would be lost.
    pub(super) fn ensure_result(&self, path: &Path) -> anyhow::Result<()> {
        ensure!(
            self.is_result,
            "{} is there and no result of an earlier run (it has no column `status`); name another file for the result",
            path.display()
        );
        Ok(())
    }

    /// Reads people, or the result of an earlier run.
    pub(super) fn read(path: &Path, kind: Kind) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        decode(bytes)
            .and_then(|text| Self::parse(text.trim_start_matches('\u{feff}'), kind))
            .with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse(text: &str, kind: Kind) -> anyhow::Result<Self> {
        let (separator, text) = separator(text, kind);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .trim(csv::Trim::Headers)
            .from_reader(text.as_bytes());
        let headers = canonical(reader.headers()?, kind);
        let is_result = headers.iter().any(|it| ADDED.contains(&it));
        check(&headers, kind, is_result)?;
        let is_input = |name: &str| !ADDED.contains(&name) && name != PASSWORD;
        let columns = headers.iter().filter(|it| is_input(it)).map(str::to_owned).collect();
        let mut sheet = Self { columns, rows: Vec::new(), kept: Vec::new(), is_result };
        let mut records = reader.records().collect::<Result<Vec<_>, _>>()?;
        for record in &mut records {
            trim_empty_cells(record, headers.len());
        }
        records.retain(|record| record.iter().any(|cell| !cell.trim().is_empty()));
        let last = records.len().saturating_sub(1);
        for (number, record) in records.iter().enumerate() {
            if record.len() != headers.len() {
                // A run that was killed while it wrote.
                if is_result && number == last {
                    break;
                }
                bail!("row {} has {} columns, the header has {}", number + 1, record.len(), headers.len());
            }
            let cell = |name: &str| headers.iter().position(|it| it == name).map(|at| &record[at]);
            let text = |name: &str| cell(name).unwrap_or_default().to_owned();
            let row = Row {
                cells: headers
                    .iter()
                    .zip(record)
                    .filter(|(it, _)| is_input(it))
                    .map(|(_, it)| it.to_owned())
                    .collect(),
                password: cell(PASSWORD).filter(|it| !it.is_empty()).map(SecretString::from),
                outcome: Outcome { status: text("status"), description: text("description"), at: text("at") },
            };
            sheet.take(row);
        }
        Ok(sheet)
    }

    /// Adds a row; what became of one that was pending takes its place.
    fn take(&mut self, row: Row) {
        let same = |it: &&mut Row| it.outcome.status == PENDING && it.cells == row.cells;
        let pending = self.rows.iter_mut().find(same).filter(|_| row.outcome.status != PENDING);
        match pending {
            Some(pending) => pending.outcome = row.outcome,
            None => self.rows.push(row),
        }
    }

    /// Takes over what an earlier run has done.
    pub(super) fn go_on_from(&mut self, mut earlier: Self) -> anyhow::Result<()> {
        ensure!(self.columns == earlier.columns, "it is the result of a file with other columns");
        for row in &mut self.rows {
            if let Some(at) = earlier.rows.iter().position(|it| it.cells == row.cells) {
                row.outcome = earlier.rows.remove(at).outcome;
            }
        }
        self.kept = earlier.rows;
        Ok(())
    }

    /// Makes every row that is not done pending, since its last outcome or since `now`.
    pub(super) fn begin(&mut self, now: &str) {
        self.rows.iter_mut().for_each(|row| row.begin(now));
    }

    fn header(&self) -> io::Result<Vec<u8>> {
        line(self.columns.iter().map(String::as_str).chain(ADDED))
    }

    /// Writes all of it in the place of what is there, whole or not at all.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let beside = PathBuf::from(format!("{}.part", path.display()));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            let mut all = self.header()?;
            for row in self.rows.iter().chain(&self.kept) {
                all.extend(row.record()?);
            }
            file.write_all(&all)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().with_context(|| format!("failed to write {}", path.display()))
    }
}

impl Row {
    /// One that failed is to be done again; its new turn is told from the one before by its time.
    fn begin(&mut self, now: &str) {
        if !self.outcome.is_done() {
            let at = if self.outcome.at.is_empty() { now } else { &self.outcome.at };
            self.outcome = Outcome::pending(at);
        }
    }
}

/// A result file that is being written.
pub(super) struct Results<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Results<'a> {
    /// Writes down what is to be done.
    pub(super) fn begin(path: &'a Path, sheet: &Sheet) -> anyhow::Result<Self> {
        sheet.write(path)?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("failed to write {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Adds what became of one row; it is on disk when this returns.
    pub(super) fn add(&mut self, row: &Row) -> anyhow::Result<()> {
        let add = |file: &mut File| {
            file.write_all(&row.record()?)?;
            file.sync_data()
        };
        add(&mut self.file).with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Leaves one row for each.
    pub(super) fn end(self, sheet: &Sheet) -> anyhow::Result<()> {
        sheet.write(self.path)
    }
}

fn line<I: IntoIterator<Item: AsRef<[u8]>>>(cells: I) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn check(headers: &csv::StringRecord, kind: Kind, is_result: bool) -> anyhow::Result<()> {
    let known = kind.columns();
    let list = known.join(",");
    for (number, name) in headers.iter().enumerate() {
        ensure!(
            known.contains(&name) || ADDED.contains(&name),
            "its header may have the columns {list}, and column {} is none of them",
            number + 1
        );
        ensure!(!headers.iter().skip(number + 1).any(|it| it == name), "the column {name} is there twice");
    }
    for name in kind.required().chain(ADDED.into_iter().filter(|_| is_result)) {
        ensure!(headers.iter().any(|it| it == name), "it has no column {name}; there may be {list}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Sheet> {
        let mut sheet = Sheet::parse(text, Kind::Invite)?;
        sheet.begin("now");
        Ok(sheet)
    }

    fn states(sheet: &Sheet) -> Vec<(&str, &str)> {
        sheet.rows.iter().map(|it| (&*it.outcome.status, &*it.outcome.at)).collect()
    }

    const HEAD: &str = "invitedUserEmailId,allotedComputers,status,description,at\n";

    #[test]
    fn what_became_of_a_row_takes_its_place() {
        let text = format!(
            "{HEAD}a,1,pending,,t0\na,1,pending,,t0\nb,,pending,,t0\nc,,pending,,t0\nb,,failed,X,t1\na,1,ok,INVITED,t2\n"
        );
        let sheet = parse(&text).unwrap();
        assert_eq!(states(&sheet), [("ok", "t2"), ("pending", "t0"), ("pending", "t1"), ("pending", "t0")]);
    }

    #[test]
    fn a_file_that_was_broken_off_can_be_read() {
        let text = format!("{HEAD}a,1,pending,,t0\na,1,o");
        assert_eq!(states(&parse(&text).unwrap()), [("pending", "t0")]);
        assert!(parse("invitedUserEmailId,allotedComputers\na\n").is_err(), "a file of people is not");
    }

    #[test]
    fn an_earlier_result_is_gone_on_from() {
        let mut sheet = parse("invitedUserEmailId\na\nb\na\n").unwrap();
        let earlier = "invitedUserEmailId,status,description,at\na,ok,INVITED,t1\nb,failed,X,t2\n";
        sheet.go_on_from(parse(earlier).unwrap()).unwrap();
        assert_eq!(states(&sheet), [("ok", "t1"), ("pending", "t2"), ("pending", "now")]);
        assert!(sheet.go_on_from(parse(&format!("{HEAD}a,1,ok,,t")).unwrap()).is_err());
    }

    #[rstest::rstest]
    fn headers_that_are_refused(
        #[values(
            "",
            "email\n",
            "allotedComputers\n",
            "invitedUserEmailId,password\n",
            "invitedUserEmailId,status\n",
            "invitedUserEmailId,invitedUserEmailId\n"
        )]
        text: &str,
    ) {
        assert!(parse(text).is_err());
    }

    #[rstest::rstest]
    #[case("sep=;\r\ninvitedUserEmailId;allotedComputers\r\na;1\r\n")]
    #[case("INVITEDUSEREMAILID ; allotedcomputers;;\r\n;;;\r\na;1;;\r\n")]
    #[case("invitedUserEmailId\tallotedComputers\ra\t1\r")]
    #[case("invitedUserEmailId,allotedComputers\n\na,1")]
    fn tables_as_spreadsheets_write_them(#[case] text: &str) {
        let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [text.to_owned(), decode(utf16).unwrap().trim_start_matches('\u{feff}').to_owned()] {
            let sheet = parse(&text).unwrap();
            assert_eq!(sheet.columns(), ["invitedUserEmailId", "allotedComputers"]);
            assert_eq!(sheet.rows.iter().map(|row| row.cells.join(",")).collect::<Vec<_>>(), ["a,1"]);
        }
    }

    #[test]
    fn another_encoding_is_named() {
        let refused = decode(b"invitedUserEmailId\r\nj\xf6rg@example.com\r\n".to_vec()).unwrap_err();
        assert!(format!("{refused:#}").contains("Windows-1252"), "{refused:#}");
    }

    #[test]
    fn a_password_is_read_and_not_written() {
        let text = "firstName,lastName,invitedUserEmailId,password\nJ,D,j@example.com,planted\n";
        let mut sheet = Sheet::parse(text, Kind::Add).unwrap();
        sheet.begin("now");
        assert!(sheet.rows[0].has_password());
        let written = [sheet.header().unwrap(), sheet.rows[0].record().unwrap()].concat();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "firstName,lastName,invitedUserEmailId,status,description,at\nJ,D,j@example.com,pending,,now\n"
        );
    }
}
