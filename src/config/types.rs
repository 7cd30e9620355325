//! Types of values that only the configuration has.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::domain::PostgresUrl;

/// Database engine and location.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(PostgresUrl),
}

/// Address or host that the egress guard admits besides public ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNetwork {
    /// Addresses.
    Net(IpNet),
    /// Name of a host in lower case. All addresses that the name resolves to are admitted.
    Host(String),
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}
