//! CSV files of bulk operations: users, and the outcome of each.
//!
//! The result of an earlier run can be read as well: its rows go on where that run ended. Columns that a person added to
//! it are kept. Passwords are read and never written.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;

use super::table::{ADDED, RowNumbers, canonical, decode, separator, trim_empty_cells};
use super::user_row::{EMAIL, PASSWORD, UserOperation, UserRow};
use crate::domain::restored;

const PENDING: &str = "pending";
pub(super) const OK: &str = "ok";
pub(super) const FAILED: &str = "failed";

/// A table of people.
pub(super) struct CsvFile {
    pub(super) separator: u8,
    columns: Vec<String>,
    /// Columns of a result file that a person has added.
    pub(super) extras: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Rows of an earlier result whose people are not in the present file. They stay in the result.
    pub(super) kept: Vec<Row>,
    /// True if the file is the result of an earlier run.
    is_result: bool,
}

/// Row of a user with its outcome.
pub(super) struct Row {
    /// Number of the row as spreadsheets count: the header is row 1.
    pub(super) number: usize,
    pub(super) cells: Vec<String>,
    pub(super) extras: Vec<String>,
    password: Option<SecretString>,
    pub(super) outcome: RowOutcome,
}

/// Cells of the added columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowOutcome {
    pub(super) status: String,
    pub(super) description: String,
    pub(super) at: String,
}

impl RowOutcome {
    pub(super) fn pending(at: &str) -> Self {
        Self { status: PENDING.to_owned(), description: String::new(), at: at.to_owned() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.status == OK
    }
}

impl Row {
    /// Returns the user; `password` is for rows without one.
    pub(super) fn person(
        &self,
        kind: UserOperation,
        columns: &[String],
        password: Option<&SecretString>,
    ) -> UserRow {
        let cells: Vec<_> = columns.iter().cloned().zip(self.cells.iter().cloned()).collect();
        UserRow::new(kind, &cells, self.password.clone().or_else(|| password.cloned()))
    }

    /// Returns whether the row has a password of its own.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Makes a failed row pending again, with a new time, which makes its idempotency key a new one.
    fn begin(&mut self, now: &str) {
        if !self.outcome.is_done() {
            let at = if self.outcome.at.is_empty() { now } else { &self.outcome.at };
            self.outcome = RowOutcome::pending(at);
        }
    }
}

impl CsvFile {
    /// Returns the columns of a user without the password.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Fails unless the file is a result file: overwriting a file made by hand would lose its passwords.
    pub(super) fn ensure_result(&self, path: &Path) -> anyhow::Result<()> {
        ensure!(
            self.is_result,
            "{} is there and no result of an earlier run (it has no column `status`); name another file for the result",
            path.display()
        );
        Ok(())
    }

    /// Reads users, or the result of an earlier run.
    pub(super) fn read(path: &Path, kind: UserOperation) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        decode(bytes)
            .and_then(|text| Self::parse(text.trim_start_matches('\u{feff}'), kind))
            .with_context(|| format!("{} cannot be used", path.display()))
    }

    pub(super) fn parse(text: &str, kind: UserOperation) -> anyhow::Result<Self> {
        let (separator, text) = separator(text, kind)?;
        let numbers = RowNumbers::of(text, separator);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .trim(csv::Trim::Headers)
            .from_reader(text.as_bytes());
        let headers = canonical(reader.headers()?, kind);
        let is_result = headers.iter().any(|name| ADDED.contains(&name));
        check(&headers, kind, is_result)?;
        let mut sheet = Self::empty(separator, &headers, kind, is_result);
        let mut record = csv::StringRecord::new();
        let mut torn = None;
        while reader.read_record(&mut record)? {
            trim_empty_cells(&mut record, headers.len());
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if let Some(error) = torn {
                bail!("{error}");
            }
            let number = numbers.at(reader.position().byte());
            if record.len() != headers.len() {
                let error =
                    format!("row {number} has {} columns, the header has {}", record.len(), headers.len());
                // The last row of a result may be incomplete after a kill.
                ensure!(is_result, error);
                torn = Some(error);
                continue;
            }
            let row = sheet.row(number, &headers, &record);
            sheet.take(row);
        }
        Ok(sheet)
    }

    fn empty(separator: u8, headers: &csv::StringRecord, kind: UserOperation, is_result: bool) -> Self {
        let known = kind.columns();
        let named = |wanted: &dyn Fn(&str) -> bool| {
            headers.iter().filter(|name| wanted(name)).map(str::to_owned).collect()
        };
        Self {
            separator,
            columns: named(&|name| known.contains(&name) && name != PASSWORD),
            extras: named(&|name| !known.contains(&name) && !ADDED.contains(&name)),
            rows: Vec::new(),
            kept: Vec::new(),
            is_result,
        }
    }

    fn row(&self, number: usize, headers: &csv::StringRecord, record: &csv::StringRecord) -> Row {
        let cell = |name: &str| headers.iter().position(|header| header == name).map(|at| &record[at]);
        let text = |name: &str| {
            let text = cell(name).unwrap_or_default();
            if self.is_result { restored(text) } else { text.to_owned() }
        };
        Row {
            number,
            cells: self.columns.iter().map(|name| text(name)).collect(),
            extras: self.extras.iter().map(|name| text(name)).collect(),
            password: cell(PASSWORD).filter(|text| !text.is_empty()).map(SecretString::from),
            outcome: RowOutcome { status: text("status"), description: text("description"), at: text("at") },
        }
    }

    /// Adds a row, or replaces a pending one.
    fn take(&mut self, row: Row) {
        let same = |earlier: &&mut Row| earlier.outcome.status == PENDING && earlier.cells == row.cells;
        let pending = self.rows.iter_mut().find(same).filter(|_| row.outcome.status != PENDING);
        match pending {
            Some(pending) => pending.outcome = row.outcome,
            None => self.rows.push(row),
        }
    }

    /// Takes over the outcomes of an earlier run.
    ///
    /// A row is the same if all its cells are. Earlier rows that are not in the present file are kept, except for one that was
    /// not done and whose address is: the present row corrects it.
    ///
    /// # Errors
    /// The earlier file has other columns.
    pub(super) fn go_on_from(&mut self, earlier: Self) -> anyhow::Result<()> {
        let mut same = [self.columns.clone(), earlier.columns.clone()];
        let [own, other] = &mut same;
        own.sort();
        other.sort();
        ensure!(own == other, "it is the result of a file with other columns");
        let own = std::mem::take(&mut self.extras);
        let further = earlier.extras.iter().filter(|name| !own.contains(name));
        self.extras = own.iter().chain(further).cloned().collect();
        let mut rows = earlier.rows;
        for row in &mut rows {
            row.cells = aligned(&self.columns, &earlier.columns, &row.cells);
            row.extras = aligned(&self.extras, &earlier.extras, &row.extras);
        }
        for row in &mut self.rows {
            row.extras = aligned(&self.extras, &own, &row.extras);
            if let Some(at) = rows.iter().position(|earlier| earlier.cells == row.cells) {
                let Row { extras, outcome, .. } = rows.remove(at);
                row.outcome = outcome;
                row.extras
                    .iter_mut()
                    .zip(extras)
                    .filter(|(own, _)| own.is_empty())
                    .for_each(|(own, earlier)| *own = earlier);
            }
        }
        let email = self.columns.iter().position(|name| name == EMAIL);
        let address = |row: &Row| email.map(|at| row.cells[at].trim().to_lowercase());
        let present: Vec<_> = self.rows.iter().map(address).collect();
        rows.retain(|row| row.outcome.is_done() || !present.contains(&address(row)));
        self.kept = rows;
        Ok(())
    }

    /// Makes every row pending that is not done, since its last outcome or since `now`.
    pub(super) fn begin(&mut self, now: &str) {
        self.rows.iter_mut().for_each(|row| row.begin(now));
    }
}

/// Returns the cells of a row in another order of columns. Missing columns are empty.
fn aligned(to: &[String], from: &[String], cells: &[String]) -> Vec<String> {
    let cell = |name: &String| from.iter().position(|known| known == name).map(|at| cells[at].clone());
    to.iter().map(|name| cell(name).unwrap_or_default()).collect()
}

fn check(headers: &csv::StringRecord, kind: UserOperation, is_result: bool) -> anyhow::Result<()> {
    let known = kind.columns();
    let list = known.join(",");
    for (number, name) in headers.iter().enumerate() {
        let is_known = known.contains(&name) || ADDED.contains(&name);
        ensure!(
            is_known || is_result,
            "its header may have the columns {list}, and column {} is none of them",
            number + 1
        );
        let is_repeated = headers.iter().skip(number + 1).any(|other| other == name);
        ensure!(!(is_known && is_repeated), "the column {name} is there twice");
    }
    for name in kind.required().chain(ADDED.into_iter().filter(|_| is_result)) {
        ensure!(headers.iter().any(|header| header == name), "it has no column {name}; there may be {list}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::results::table;
    use super::*;

    fn written(sheet: &CsvFile) -> String {
        String::from_utf8(table(sheet).unwrap()).unwrap()
    }

    fn parse(text: &str) -> anyhow::Result<CsvFile> {
        let mut sheet = CsvFile::parse(text, UserOperation::Invite)?;
        sheet.begin("now");
        Ok(sheet)
    }

    fn states(sheet: &CsvFile) -> Vec<(&str, &str)> {
        sheet.rows.iter().map(|row| (&*row.outcome.status, &*row.outcome.at)).collect()
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
        let mut sheet = CsvFile::parse(text, UserOperation::Add).unwrap();
        sheet.begin("now");
        assert!(sheet.rows[0].has_password());
        assert_eq!(
            written(&sheet),
            "\u{feff}firstName,lastName,invitedUserEmailId,status,description,at\r\nJ,D,j@example.com,pending,,now\r\n"
        );
    }

    #[test]
    fn rows_have_the_numbers_of_a_spreadsheet() {
        let text = "sep=;\r\n\r\ninvitedUserEmailId;allotedComputers\r\na;1\r\n\r\n;;\r\n\"b\nc\";2\r\nd;\"3\r\n\"\"4\"\r\ne;5";
        let numbers: Vec<_> = parse(text).unwrap().rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [3, 6, 7, 8]);
        let error = parse("invitedUserEmailId,allotedComputers\n\n\na\nb,1\n").err().unwrap();
        assert_eq!(error.to_string(), "row 4 has 1 columns, the header has 2");
    }

    #[test]
    fn a_result_keeps_its_separator_and_the_columns_that_a_person_added() {
        let mut sheet = parse("allotedComputers;invitedUserEmailId\n1;a\n2;b\n3;C\n").unwrap();
        let earlier = "note,invitedUserEmailId,allotedComputers,status,description,at\n\
                       new,a,1,ok,INVITED,t1\nold,c,9,failed,X,t2\n'=sum,d,4,failed,X,t3\n'=1,e,5,ok,INVITED,t4\n";
        sheet.go_on_from(parse(earlier).unwrap()).unwrap();
        sheet.begin("now");
        assert_eq!(
            written(&sheet),
            "\u{feff}allotedComputers;invitedUserEmailId;status;description;at;note\r\n\
             1;a;ok;INVITED;t1;new\r\n2;b;pending;;now;\r\n3;C;pending;;now;\r\n\
             4;d;pending;;t3;'=sum\r\n5;e;ok;INVITED;t4;'=1\r\n"
        );
    }

    #[test]
    fn a_separator_of_several_bytes_is_refused() {
        assert!(parse("sep=\u{a6}\ninvitedUserEmailId\u{a6}allotedComputers\n").is_err());
    }
}
