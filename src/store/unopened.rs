//! Errors of a store that cannot be opened, in one sentence: place, cause and remedy.

use std::io;
use std::path::Path;

use sqlx::migrate::MigrateError;

use super::StoreError;
use super::error::Engine;

/// Returns the error for an SQLite file that cannot be opened.
pub(super) fn sqlite(path: &Path) -> impl Fn(sqlx::Error) -> StoreError + '_ {
    move |error| StoreError::Unopened {
        what: "open the database file",
        place: path.display().to_string(),
        cause: cause(&error),
        remedy: remedy(&error).unwrap_or("see database.url").to_owned(),
    }
}

/// Returns the error for a damaged SQLite file.
pub(super) fn damaged(path: &Path) -> impl Fn(sqlx::Error) -> StoreError + '_ {
    move |error| StoreError::Unopened {
        what: "open the database file",
        place: path.display().to_string(),
        cause: cause(&error),
        remedy: DAMAGED.to_owned(),
    }
}

/// Returns the error for a failed file system operation on the database file or beside it.
pub(super) fn file(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unopened {
        what: "open the database file",
        place: path.display().to_string(),
        cause: error.to_string(),
        remedy: file_remedy(path, error),
    }
}

/// Returns the error for a failed connection to PostgreSQL at `place`.
pub(super) fn postgres(place: &str) -> impl Fn(sqlx::Error) -> StoreError + '_ {
    move |error| StoreError::Unopened {
        what: "connect to PostgreSQL at",
        place: place.to_owned(),
        cause: cause(&error),
        remedy: remedy(&error).unwrap_or("see database.url").to_owned(),
    }
}

/// Returns cause and remedy of a failed migration.
pub(super) fn migration(error: &MigrateError) -> String {
    let (MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) = error else {
        return error.to_string();
    };
    match remedy(source) {
        Some(remedy) => format!("{}; {remedy}", cause(source)),
        None => cause(source),
    }
}

fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Configuration(error) => error.to_string(),
        other => Engine::text(other),
    }
}

fn file_remedy(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("make the folder {folder}, or name another file in database.url"),
        io::ErrorKind::PermissionDenied => format!(
            "the file and its folder {folder} must be writable by user {} (65532 in the container image), for SQLite \
             makes files beside it",
            rustix::process::geteuid().as_raw()
        ),
        io::ErrorKind::IsADirectory => "name a file in this folder in database.url".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("mount a volume that can be written at {folder}, or name another file in database.url")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free space at {folder}"),
        _ => "see database.url".to_owned(),
    }
}

/// Remedy by the kind of the error or the engine's code.
fn remedy(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Some("is PostgreSQL running there? See host and port in database.url")
            }
            io::ErrorKind::TimedOut => {
                Some("nothing answers there: see host and port in database.url, and firewalls between")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                Some("name the primary in database.url, or all servers, separated by commas")
            }
            _ => Some("see host and port in database.url"),
        },
        sqlx::Error::Tls(_) => Some(
            "the server's certificate must be valid for its name; name its authority in sslrootcert, or choose another sslmode in \
             database.url",
        ),
        sqlx::Error::Database(error) => code_remedy(error.code().as_deref().unwrap_or_default()),
        _ => None,
    }
}

/// PostgreSQL's codes have five characters, SQLite's are numbers; the lowest byte is the primary code.
fn code_remedy(code: &str) -> Option<&'static str> {
    match code {
        "28P01" => Some("see user and password in database.url"),
        "28000" => Some(
            "the server admits no such connection: see user, database and sslmode in database.url, and the server's pg_hba.conf",
        ),
        "3D000" => Some("make it with createdb, or name another in database.url"),
        "53300" | "53400" => {
            Some("remgate needs 15 connections for each process; raise max_connections or free some")
        }
        "42501" => Some("grant the user USAGE and CREATE on the schema, or let it own the database"),
        "53100" => Some("free space on the server"),
        "57P03" => Some("the server is starting or stopping; try again"),
        "25006" => Some("name the primary in database.url, or all servers, separated by commas"),
        _ => match code.parse::<u32>().ok()? & 0xff {
            8 | 14 => Some(
                "the file and its folder must be writable by the user that runs remgate (65532 in the container image), for \
                 SQLite makes files beside it",
            ),
            10 => Some("the disk or the file system reports an error; see the system's log"),
            13 => Some("free space on the disk"),
            11 | 26 => Some(DAMAGED),
            _ => None,
        },
    }
}

/// Remedy for a damaged SQLite file.
pub(super) const DAMAGED: &str = "stop remgate, keep a copy of the file with its -wal and -shm, and put a backup in its place; without \
     one, `sqlite3 FILE .recover` saves the rows that can still be read";

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{code_remedy, file};

    #[rstest::rstest]
    #[case("28P01", "password")]
    #[case("28000", "pg_hba.conf")]
    #[case("3D000", "createdb")]
    #[case("53300", "15 connections")]
    #[case("42501", "grant")]
    #[case("14", "65532")]
    #[case("1544", "65532")]
    #[case("13", "free space")]
    #[case("26", "backup")]
    #[case("267", "backup")]
    fn each_code_has_a_remedy(#[case] code: &str, #[case] text: &str) {
        assert!(code_remedy(code).unwrap().contains(text));
    }

    #[rstest::rstest]
    #[case(io::ErrorKind::NotFound, "make the folder /data")]
    #[case(io::ErrorKind::PermissionDenied, "folder /data must be writable")]
    #[case(io::ErrorKind::IsADirectory, "name a file")]
    #[case(io::ErrorKind::ReadOnlyFilesystem, "mount a volume")]
    #[case(io::ErrorKind::StorageFull, "free space at /data")]
    fn each_failure_of_a_file_has_a_remedy(#[case] kind: io::ErrorKind, #[case] text: &str) {
        let error = file(Path::new("/data/remgate.db"), &kind.into()).to_string();
        assert!(
            error.starts_with("failed to open the database file /data/remgate.db: ") && error.contains(text),
            "{error}"
        );
    }
}
