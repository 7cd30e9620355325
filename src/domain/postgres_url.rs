//! The URL of a PostgreSQL database, as database providers give it out.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::form_urlencoded::{Serializer, parse};

/// Address of a database: one or several servers, one of which takes writes.
///
/// The text is libpq's: `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?NAME=VALUE`.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    /// One URL for each server, in the order to try them. Each names one host and only parameters that the driver knows.
    pub servers: Vec<SecretString>,
    /// Maximum time for one connection; `None` for the caller's default.
    pub connect_timeout: Option<Duration>,
}

/// Parameters that are passed on to the driver.
const PASSED_ON: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "dbname",
    "user",
    "password",
    "options",
    "application_name",
];
/// Parameters that are split among the servers.
const SPLIT: [&str; 3] = ["host", "hostaddr", "port"];
/// Parameters that are understood here.
const UNDERSTOOD: [&str; 2] = ["connect_timeout", "target_session_attrs"];
/// Parameters without effect: remgate notices lost connections itself, and always sends UTF-8 and the server's name.
const WITHOUT_EFFECT: [&str; 10] = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "client_encoding",
    "fallback_application_name",
    "sslsni",
    "sslcompression",
    "uselibpqcompat",
];
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parameters that have one or several good values, and the advice for the others.
const CHECKED: &[(&str, &[&str], &str)] = &[
    (
        "channel_binding",
        &["disable", "prefer"],
        "channel_binding=require is not supported; remove it, and write sslmode=verify-full for an equal protection",
    ),
    ("gssencmode", &["disable", "prefer"], "GSSAPI encryption is not supported; write gssencmode=disable"),
    (
        "sslnegotiation",
        &["postgres"],
        "direct TLS negotiation is not supported; write sslnegotiation=postgres",
    ),
    (
        "ssl_min_protocol_version",
        &["TLSv1", "TLSv1.1", "TLSv1.2"],
        "TLS 1.2 and 1.3 are spoken; write ssl_min_protocol_version=TLSv1.2 or remove it",
    ),
    (
        "load_balance_hosts",
        &["disable"],
        "hosts are tried in their order, for one of them takes writes; remove load_balance_hosts",
    ),
    (
        "pgbouncer",
        &["false"],
        "pgbouncer=true names a pooler that gives each transaction another session; remgate needs sessions (LISTEN, \
         prepared statements). Write the URL of the server itself or of a pooler in session mode, without pgbouncer",
    ),
];

/// Parameters of other drivers, and the text to write instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("ssl", "write sslmode=require or sslmode=verify-full"),
    ("sslaccept", "write sslmode=verify-full for `strict`, sslmode=require for `accept_invalid_certs`"),
    ("ssl_mode", "write sslmode"),
    ("tls", "write sslmode=require or sslmode=verify-full"),
    ("schema", "write options=-c%20search_path%3DNAME"),
    ("currentSchema", "write options=-c%20search_path%3DNAME"),
    ("search_path", "write options=-c%20search_path%3DNAME"),
    ("statement_timeout", "write options=-c%20statement_timeout%3DMILLISECONDS"),
    ("connection_limit", "remove it; remgate opens at most 14 connections"),
    ("pool_timeout", "remove it; remgate opens at most 14 connections"),
    ("pool_size", "remove it; remgate opens at most 14 connections"),
    ("pool_mode", "remove it; only session pooling is supported"),
    ("prepared_statements", "remove it; prepared statements are always used"),
    ("prepareThreshold", "remove it; prepared statements are always used"),
    ("connectTimeout", "write connect_timeout"),
    ("ApplicationName", "write application_name"),
    ("sslpassword", "the key in sslkey needs no password; sslmode, sslcert and sslkey are supported"),
    ("sslcrl", "remove it; revocation lists are not supported"),
    ("sslcrldir", "remove it; revocation lists are not supported"),
    ("sslcertmode", "remove it; a client certificate is sent when sslcert is set"),
    ("passfile", "write the password into the URL, or name the URL's file in database.url_file"),
    ("service", "write host, user and database into the URL"),
    ("require_auth", "remove it"),
    ("requirepeer", "remove it"),
    ("krbsrvname", "remove it; GSSAPI is not supported"),
    ("gsslib", "remove it; GSSAPI is not supported"),
    ("replication", "remove it"),
];

type Parsed<T> = Result<T, String>;

fn refused<T>(why: &str) -> Parsed<T> {
    Err(why.to_owned())
}

/// The parts of the text.
struct UrlParts<'t> {
    /// User information, with the `@` at its end unless it is empty.
    user_info: &'t str,
    hosts: &'t str,
    path: &'t str,
    parameters: Vec<(String, String)>,
}

impl PostgresUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence that says what is not supported and what to write. It holds no part of the text but the names of
    /// parameters.
    pub fn parse(text: &str) -> Parsed<Self> {
        let mut parts = UrlParts::of(text)?;
        let mut connect_timeout = None;
        for (name, value) in &parts.parameters {
            check(name, value)?;
            if name == "connect_timeout" {
                connect_timeout = seconds(value)?;
            }
        }
        for (name, value) in &mut parts.parameters {
            if name == "sslmode" && value == "no-verify" {
                "require".clone_into(value);
            }
        }
        // libpq: the system's certificate authorities, and then the server's name is always verified.
        if parts.parameters.iter().any(|(name, value)| name == "sslrootcert" && value == "system") {
            parts.parameters.retain(|(name, _)| !matches!(name.as_str(), "sslrootcert" | "sslmode"));
            parts.parameters.push(("sslmode".to_owned(), "verify-full".to_owned()));
        }
        Ok(Self { servers: parts.servers()?, connect_timeout })
    }
}

impl<'t> UrlParts<'t> {
    fn of(text: &'t str) -> Parsed<Self> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or("the scheme is exactly `postgres` or `postgresql`")?;
        let unescaped = "a `/`, `?`, `#` or `@` in a password is written %2F, %3F, %23 or %40";
        if rest.contains('#') {
            return refused(unescaped);
        }
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        if path.contains('@') || query.contains('@') {
            return refused(unescaped);
        }
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return refused("white space is written %20");
        }
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (user_info, hosts) = authority.split_at(at);
        if user_info.matches('@').count() > 1 {
            return refused(unescaped);
        }
        let parameters = parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()));
        Ok(Self { user_info, hosts, path, parameters: parameters.collect() })
    }

    /// The last value of a parameter.
    fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn servers(&self) -> Parsed<Vec<SecretString>> {
        let mut servers: Vec<(String, Option<u16>)> = Vec::new();
        for server in self.hosts.split(',') {
            servers.push(host_and_port(server)?);
        }
        if let Some(hosts) = self.parameter("hostaddr").or_else(|| self.parameter("host")) {
            servers = hosts.split(',').map(|host| (host.to_owned(), None)).collect();
        }
        if let Some(ports) = self.parameter("port") {
            let ports: Vec<_> = ports.split(',').map(port).collect::<Parsed<_>>()?;
            if ports.len() != 1 && ports.len() != servers.len() {
                return refused("there are as many ports as hosts, or one for all");
            }
            for (index, (_, port)) in servers.iter_mut().enumerate() {
                *port = ports.get(index).or(ports.first()).copied().flatten();
            }
        }
        servers.iter().map(|(host, port)| self.server(host, *port)).collect()
    }

    /// The URL of one server, for the driver.
    fn server(&self, host: &str, port: Option<u16>) -> Parsed<SecretString> {
        check_pooler(host, port)?;
        let mut query = Serializer::new(String::new());
        for (name, value) in &self.parameters {
            if PASSED_ON.contains(&name.as_str()) {
                query.append_pair(name, value);
            }
        }
        if !host.is_empty() {
            query.append_pair("host", host);
        }
        if let Some(port) = port {
            query.append_pair("port", &port.to_string());
        }
        // The host is passed as a parameter: there an IPv6 address needs no brackets, and a folder no escapes.
        Ok(format!("postgres://{}localhost/{}?{}", self.user_info, self.path, query.finish()).into())
    }
}

/// `host`, `host:port`, `[address]:port`, or the folder of a socket, percent-encoded.
fn host_and_port(text: &str) -> Parsed<(String, Option<u16>)> {
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or("an IPv6 address stands in brackets")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return refused("an IPv6 address stands in brackets");
            }
            let given = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("?")) };
            (address, given)
        }
        None => match text.split_once(':') {
            Some((_, more)) if more.contains(':') => return refused("an IPv6 address stands in brackets"),
            Some((host, given)) => (host, Some(given)),
            None => (text, None),
        },
    };
    let host = percent_decode_str(host).decode_utf8().map_err(|_| "the host is not UTF-8")?.into_owned();
    Ok((host, given.map(port).transpose()?.flatten()))
}

fn port(text: &str) -> Parsed<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(port) if port != 0 => Ok(Some(port)),
        _ => refused("a port is a number from 1 to 65535"),
    }
}

/// Refuses addresses that lead to a pooler in transaction mode, according to their provider.
fn check_pooler(host: &str, port: Option<u16>) -> Parsed<()> {
    let first_label = host.split('.').next().unwrap_or_default();
    if host.ends_with(".neon.tech") && first_label.ends_with("-pooler") {
        return refused(
            "a host that ends in `-pooler` gives each transaction another session; remgate needs sessions (LISTEN, \
             prepared statements). Write the same host without `-pooler`",
        );
    }
    let supabase = [".supabase.com", ".supabase.co"].iter().any(|domain| host.ends_with(domain));
    if supabase && port == Some(6543) {
        return refused(
            "port 6543 of Supabase gives each transaction another session; remgate needs sessions (LISTEN, prepared \
             statements). Write port 5432",
        );
    }
    Ok(())
}

fn seconds(value: &str) -> Parsed<Option<Duration>> {
    match value.parse::<i64>() {
        Ok(..=0) => Ok(None),
        Ok(seconds @ 1..=300) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        _ => refused("connect_timeout is a number of seconds, at most 300"),
    }
}

fn check(name: &str, value: &str) -> Parsed<()> {
    if name == "sslmode" && !SSL_MODES.contains(&value) && value != "no-verify" {
        return Err(format!("sslmode is one of {}", SSL_MODES.join(", ")));
    }
    if name == "target_session_attrs" && !matches!(value, "any" | "read-write" | "primary") {
        return refused("remgate writes, so that target_session_attrs is read-write, primary or any");
    }
    if PASSED_ON.contains(&name) || SPLIT.contains(&name) || UNDERSTOOD.contains(&name) {
        return Ok(());
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(());
    }
    if let Some((_, good, advice)) = CHECKED.iter().find(|(known, _, _)| *known == name) {
        return if good.contains(&value) { Ok(()) } else { refused(advice) };
    }
    if let Some((_, advice)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        return Err(format!("{name} is not supported: {advice}"));
    }
    Err(format!("there is no parameter {name:?}; there are {}", known().join(", ")))
}

fn known() -> Vec<&'static str> {
    let checked = CHECKED.iter().map(|(name, _, _)| *name);
    PASSED_ON.into_iter().chain(SPLIT).chain(UNDERSTOOD).chain(checked).chain(WITHOUT_EFFECT).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::PostgresUrl;

    fn servers(text: &str) -> Vec<String> {
        let url = PostgresUrl::parse(text).unwrap();
        url.servers.iter().map(|server| server.expose_secret().to_owned()).collect()
    }

    #[rstest::rstest]
    #[case("postgres://u:p@h/d", &["postgres://u:p@localhost/d?host=h"])]
    #[case("postgresql://u@h:5433/d", &["postgres://u@localhost/d?host=h&port=5433"])]
    #[case("postgres://h", &["postgres://localhost/?host=h"])]
    #[case("postgres:///d", &["postgres://localhost/d?"])]
    #[case("postgres://u:p%40%2F@[2001:db8::1]:5433/d", &["postgres://u:p%40%2F@localhost/d?host=2001%3Adb8%3A%3A1&port=5433"])]
    #[case("postgres://[::1]/d", &["postgres://localhost/d?host=%3A%3A1"])]
    #[case("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", &["postgres://u@localhost/d?host=%2Fvar%2Frun%2Fpostgresql"])]
    #[case("postgres://u@/d?host=/var/run/postgresql", &["postgres://u@localhost/d?host=%2Fvar%2Frun%2Fpostgresql"])]
    #[case("postgres://u@a:1,b:2/d", &["postgres://u@localhost/d?host=a&port=1", "postgres://u@localhost/d?host=b&port=2"])]
    #[case("postgres://u@a,b/d?port=7", &["postgres://u@localhost/d?host=a&port=7", "postgres://u@localhost/d?host=b&port=7"])]
    #[case("postgres:///d?host=a,b&port=1,2", &["postgres://localhost/d?host=a&port=1", "postgres://localhost/d?host=b&port=2"])]
    #[case("postgres://u@h/d?sslmode=no-verify", &["postgres://u@localhost/d?sslmode=require&host=h"])]
    #[case("postgres://u@h/d?sslmode=require&sslrootcert=system", &["postgres://u@localhost/d?sslmode=verify-full&host=h"])]
    #[case("postgres://u@h/d?options=endpoint%3Dep-x&application_name=crm", &["postgres://u@localhost/d?options=endpoint%3Dep-x&application_name=crm&host=h"])]
    #[case("postgres://u@h/d?channel_binding=prefer&keepalives=1&keepalives_idle=30&gssencmode=disable&target_session_attrs=read-write&sslnegotiation=postgres&pgbouncer=false", &["postgres://u@localhost/d?host=h"])]
    fn good_urls(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(servers(text), expected);
    }

    #[rstest::rstest]
    #[case("postgres://u:PLANTED@h/d?channel_binding=require", "sslmode=verify-full")]
    #[case("postgres://u:PLANTED@h/d?pgbouncer=true&connection_limit=1", "pooler in session mode")]
    #[case("postgres://u:PLANTED@ep-x-pooler.eu-central-1.aws.neon.tech/d", "without `-pooler`")]
    #[case("postgres://u:PLANTED@aws-0-eu.pooler.supabase.com:6543/d", "port 5432")]
    #[case("postgres://u:PLANTED@h/d?target_session_attrs=standby", "read-write")]
    #[case("postgres://u:PLANTED@h/d?target_session_attrs=prefer-standby", "read-write")]
    #[case("postgres://u:PLANTED@h/d?connect_timeout=PLANTED", "seconds")]
    #[case("postgres://u:PLANTED@h/d?sslmode=PLANTED", "verify-full")]
    #[case("postgres://u:PLANTED@h/d?ssl=true", "sslmode=require")]
    #[case("postgres://u:PLANTED@h/d?schema=PLANTED", "search_path")]
    #[case("postgres://u:PLANTED@h/d?gssencmode=require", "gssencmode=disable")]
    #[case("postgres://u:PLANTED@h/d?sslnegotiation=direct", "sslnegotiation=postgres")]
    #[case("postgres://u:PLANTED@h/d?nonsense=PLANTED", "there is no parameter \"nonsense\"")]
    #[case("postgres://u:PLAN/TED@h/d", "%2F")]
    #[case("postgres://u:PLAN#TED@h/d", "%23")]
    #[case("postgres://u:PLAN?TED@h/d", "%3F")]
    #[case("postgres://u:PLAN@TED@h/d", "%40")]
    #[case("postgres://u:PLAN TED@h/d", "%20")]
    #[case("postgres://u:PLANTED@::1/d", "brackets")]
    #[case("postgres://u:PLANTED@h:PLANTED/d", "port")]
    #[case("postgres://u:PLANTED@h:0/d", "port")]
    #[case("postgres://u:PLANTED@a,b,c/d?port=1,2", "as many ports")]
    fn bad_urls(#[case] text: &str, #[case] advice: &str) {
        let error = PostgresUrl::parse(text).unwrap_err();
        assert!(error.contains(advice) && !error.contains("PLANTED") && !error.contains("PLAN"), "{error}");
    }
}
