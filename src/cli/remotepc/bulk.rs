//! Adds or invites the users of a CSV file, one after the other. An interrupted run can be continued.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use secrecy::SecretString;

use super::csv_file::{CsvFile, FAILED, OK, RowOutcome};
use super::password::Password;
use super::results::Results;
use super::user_row::{SendOutcome, UserOperation};
use crate::cli::client::ApiClient;
use crate::cli::output;
use crate::cli::process::{Stopped, Usage, until_stopped};
use crate::cli::progress::Progress;
use crate::domain::{Clock, SystemClock, iso_millis};
use crate::lifecycle::StopSignals;

/// Rows of a file instead of one user on the command line.
#[derive(Debug, Args)]
pub(super) struct FileOptions {
    /// Read users from this file, whose header has upstream's field names; a result file is accepted, too
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// Write the outcome of each row into this file; if it exists, continue where it ends
    #[arg(long, value_name = "FILE", requires = "csv")]
    result: Option<PathBuf>,
    /// Only check the file, and print what would be sent
    #[arg(long, requires = "csv")]
    dry_run: bool,
}

pub(super) async fn run(
    kind: UserOperation,
    bulk: &FileOptions,
    password: Option<&Password>,
    connect: impl FnOnce() -> anyhow::Result<ApiClient>,
    signals: &mut StopSignals,
) -> anyhow::Result<()> {
    let path = bulk.csv.as_deref().context("there is no file")?;
    let result = if bulk.dry_run { bulk.result.as_ref() } else { Some(result_file(bulk)?) };
    let now = iso_millis::text(SystemClock.now());
    let mut sheet = CsvFile::read(path, kind)?;
    if let Some(result) = result.filter(|result| is_same(result, path)) {
        sheet.ensure_result(result)?;
    }
    if let Some(result) = result.filter(|result| result.exists() && !is_same(result, path)) {
        let earlier = CsvFile::read(result, kind)?;
        earlier.ensure_result(result)?;
        sheet.go_on_from(earlier).with_context(|| format!("{} cannot be gone on from", result.display()))?;
    }
    sheet.begin(&now);
    let open = || sheet.rows.iter().filter(|row| !row.outcome.is_done());
    let password = match password {
        // A dry run asks for no password.
        Some(password) if open().any(|row| !row.has_password()) => Some(if bulk.dry_run {
            "asked for later".into()
        } else {
            until_stopped(signals, password.get()).await?
        }),
        _ => None,
    };
    match result {
        Some(result) if !bulk.dry_run => {
            let client = connect()?;
            let mut results = Results::begin(result, &sheet)?;
            let sending = send(kind, &mut sheet, password.as_ref(), &mut results, &client);
            let outcome = until_stopped(signals, sending).await.with_context(|| gone_on(result));
            // Also after a signal: a row that was under way is pending, and a repetition gets its outcome.
            results.end(&sheet)?;
            if outcome.as_ref().is_err_and(anyhow::Error::is::<Stopped>) {
                let done = sheet.rows.iter().filter(|row| row.outcome.is_done()).count();
                output::remark(&format!("{done} of {} rows are done; {}", sheet.rows.len(), gone_on(result)));
            }
            told(&sheet, outcome?, result)
        }
        _ => check(kind, &sheet, password.as_ref()),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok() == other.canonicalize().ok()
}

/// Prints faulty rows, and what would be sent.
fn check(kind: UserOperation, sheet: &CsvFile, password: Option<&SecretString>) -> anyhow::Result<()> {
    let mut sent = 0;
    let mut faulty = 0;
    for row in sheet.rows.iter().filter(|row| !row.outcome.is_done()) {
        let person = row.person(kind, sheet.columns(), password);
        if person.faults().is_empty() {
            sent += 1;
            continue;
        }
        faulty += 1;
        let name = output::field(&person.name().into());
        output::line(&format!("row {}  {name}  {}", row.number, person.faults().join(" ")))?;
    }
    let done = sheet.rows.len() - sent - faulty;
    output::remark(&format!("{sent} would be sent, {done} are done already, {faulty} are faulty"));
    if faulty > 0 {
        bail!("{faulty} of {} rows are faulty", sheet.rows.len());
    }
    Ok(())
}

/// Sends rows that are not done. Returns the number of failed ones.
async fn send(
    kind: UserOperation,
    sheet: &mut CsvFile,
    password: Option<&SecretString>,
    results: &mut Results<'_>,
    client: &ApiClient,
) -> anyhow::Result<usize> {
    let progress = Progress::of(sheet.rows.len() as u64);
    let columns = sheet.columns().to_vec();
    let mut failed = 0;
    for row in &mut sheet.rows {
        if !row.outcome.is_done() {
            let person = row.person(kind, &columns, password);
            let told = person.send(client, Some(&row.outcome.at)).await?;
            let (status, description) = match told {
                SendOutcome::Done(word) => (OK, word),
                SendOutcome::Failed(words) => (FAILED, words),
                SendOutcome::Abort(words) => bail!("{words}: no row would fare better"),
            };
            failed += usize::from(status == FAILED);
            let at = iso_millis::text(SystemClock.now());
            row.outcome = RowOutcome { status: status.to_owned(), description, at };
            results.add(row)?;
        }
        progress.add(1);
    }
    Ok(failed)
}

fn gone_on(result: &Path) -> String {
    format!("the same command goes on where {} ends", result.display())
}

fn told(sheet: &CsvFile, failed: usize, result: &Path) -> anyhow::Result<()> {
    let rows = sheet.rows.len();
    if failed > 0 {
        bail!(
            "{failed} of {rows} rows failed, see {}; the same command tries them once more",
            result.display()
        );
    }
    output::remark(&format!("{rows} rows are done, see {}", result.display()));
    Ok(())
}

/// Returns the result file, which `--csv` requires.
fn result_file(bulk: &FileOptions) -> Result<&PathBuf, Usage> {
    bulk.result.as_ref().ok_or_else(|| Usage("--csv goes with --result FILE, or with --dry-run".to_owned()))
}
