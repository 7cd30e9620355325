//! `remotepc`: lists, adds, invites and signs in users, by the internal listener of a running remgate.
//!
//! Passwords come from a prompt, a file or a CSV column, since others on this machine can read a command line. None goes
//! into a result file, an error or a progress bar.

mod bulk;
mod csv_file;
mod list;
mod password;
mod results;
mod table;
mod user_row;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::client::{ApiClient, LONG_TIMEOUT, ServerOptions};
use super::options::Global;
use super::output;
use super::process::until_stopped;
use crate::lifecycle::StopSignals;
use password::Password;
use user_row::{SendOutcome, UserOperation, UserRow};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the users of the reseller account
    List(list::Options),
    /// Add a user, or the users of a CSV file
    Add(AddOptions),
    /// Invite a user, or the users of a CSV file
    Invite(Invite),
    /// Create a sign-in link, which works once within a minute
    Signin(Signin),
}

#[derive(Debug, Args)]
pub(super) struct AddOptions {
    #[command(flatten)]
    server: ServerOptions,
    /// E-mail address, which becomes the user name
    #[arg(required_unless_present = "csv", conflicts_with = "csv", requires_all = ["first_name", "last_name"])]
    email: Option<String>,
    /// Their first name
    #[arg(long, value_name = "NAME", conflicts_with = "csv")]
    first_name: Option<String>,
    /// Their last name
    #[arg(long, value_name = "NAME", conflicts_with = "csv")]
    last_name: Option<String>,
    /// Maximum number of computers
    #[arg(long, value_name = "NUMBER", conflicts_with = "csv")]
    computers: Option<u64>,
    /// Let RemotePC notify the user by e-mail
    #[arg(long, conflicts_with = "csv")]
    send_email: bool,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    bulk: bulk::FileOptions,
}

#[derive(Debug, Args)]
pub(super) struct Invite {
    #[command(flatten)]
    server: ServerOptions,
    /// Their e-mail address
    #[arg(required_unless_present = "csv", conflicts_with = "csv")]
    email: Option<String>,
    /// Maximum number of computers
    #[arg(long, value_name = "NUMBER", conflicts_with = "csv")]
    computers: Option<u64>,
    #[command(flatten)]
    bulk: bulk::FileOptions,
}

#[derive(Debug, Args)]
pub(super) struct Signin {
    #[command(flatten)]
    server: ServerOptions,
    /// User name, usually the e-mail address
    username: String,
    #[command(flatten)]
    password: Password,
    /// Print RemotePC's own link, a secret that signs in as the user
    #[arg(long)]
    direct: bool,
}

pub(super) async fn run(command: &Command, global: &Global, signals: &mut StopSignals) -> anyhow::Result<()> {
    let connect = |server| ApiClient::internal(server, global);
    match command {
        Command::List(options) => {
            until_stopped(signals, list::run(options, &connect(&options.server)?)).await
        }
        Command::Add(options) => add(options, global, signals).await,
        Command::Invite(options) => invite(options, global, signals).await,
        Command::Signin(options) => {
            until_stopped(signals, sign_in(options, &connect(&options.server)?)).await
        }
    }
}

async fn add(options: &AddOptions, global: &Global, signals: &mut StopSignals) -> anyhow::Result<()> {
    let connect = || ApiClient::internal(&options.server, global);
    let Some(email) = &options.email else {
        return bulk::run(UserOperation::Add, &options.bulk, Some(&options.password), connect, signals).await;
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        ("firstName", text(&options.first_name)),
        ("lastName", text(&options.last_name)),
        ("invitedUserEmailId", email.clone()),
        ("allotedComputers", options.computers.map(|number| number.to_string()).unwrap_or_default()),
        ("sendEmailToUser", if options.send_email { "true".to_owned() } else { String::new() }),
    ];
    until_stopped(signals, async {
        let person = UserRow::new(UserOperation::Add, &cells, Some(options.password.get().await?));
        one(&person, &connect()?).await
    })
    .await
}

async fn invite(options: &Invite, global: &Global, signals: &mut StopSignals) -> anyhow::Result<()> {
    let connect = || ApiClient::internal(&options.server, global);
    let Some(email) = &options.email else {
        return bulk::run(UserOperation::Invite, &options.bulk, None, connect, signals).await;
    };
    let computers = options.computers.map(|number| number.to_string()).unwrap_or_default();
    let cells = [("invitedUserEmailId", email.clone()), ("allotedComputers", computers)];
    until_stopped(signals, one(&UserRow::new(UserOperation::Invite, &cells, None), &connect()?)).await
}

async fn one(person: &UserRow, client: &ApiClient) -> anyhow::Result<()> {
    match person.send(client, None).await? {
        SendOutcome::Done(word) => {
            let name = output::field(&person.name().into());
            Ok(output::line(&format!("{name}  {}", output::field(&word.into())))?)
        }
        SendOutcome::Failed(words) | SendOutcome::Abort(words) => {
            bail!("RemotePC or remgate refused: {words}")
        }
    }
}

async fn sign_in(options: &Signin, client: &ApiClient) -> anyhow::Result<()> {
    use secrecy::ExposeSecret;
    let password = options.password.get().await?;
    let body = json!({"username": options.username, "password": password.expose_secret()});
    if !options.direct {
        let opened: Json = client.send(Method::POST, "/v1/remotepc/sessions", &body, LONG_TIMEOUT).await?;
        let path = opened["url"].as_str().context("the answer holds no link")?;
        output::line(client.absolute(path).as_str())?;
        output::remark(&format!("it works once, until {}", output::field(&opened["expires_at"])));
        return Ok(());
    }
    let (status, told) = client.exchange("/admin/remotepc/user/signin", &body, None, LONG_TIMEOUT).await?;
    match told["message"]["rpc_redirect_link"].as_str() {
        Some(link) if status.is_success() => Ok(output::line(link)?),
        _ => bail!("RemotePC or remgate refused: {}", user_row::words(status, &told)),
    }
}
