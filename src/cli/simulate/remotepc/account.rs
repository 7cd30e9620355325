//! State of the simulated reseller account, and its four operations, which follow the upstream document to the
//! letter.

use std::collections::BTreeMap;

use jiff::Zoned;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::body::RequestBody;

/// A reseller account in memory. It ends with the process.
#[derive(Debug, Default)]
pub(super) struct Account {
    users: BTreeMap<String, SimulatedUser>,
    /// User names by the token of the sign-in link that was given out.
    links: BTreeMap<String, String>,
}

#[derive(Debug)]
struct SimulatedUser {
    /// `None` until the invitation is accepted.
    password: Option<[u8; 32]>,
    computers: u64,
    /// `MM-DD-YYYY`, as upstream writes it.
    created: String,
}

/// Minimum length of a password.
const SHORTEST_PASSWORD: usize = 6;

/// Outcomes that an address selects by its name alone, whatever the account holds, so that every answer can be had.
const BY_ADDRESS: &[(&str, Special)] = &[
    ("sim-exists", Special::Refused("EMAIL_EXISTS")),
    ("sim-suspended", Special::Refused("ACTION_PARENT_ACCOUNT_SUSPENDED")),
    ("sim-blocked", Special::Refused("IP_ADDRESS_BLOCKED")),
    ("sim-cancelled", Special::Refused("CANCELLED_ACCOUNT")),
    ("sim-emailid", Special::Refused("EMAILID_REQUIRED")),
    ("sim-email", Special::Refused("INVALID_EMAIL")),
    ("sim-unknown", Special::Refused("USERNAME_DOES_NOT_EXIST")),
    ("sim-unauthorized", Special::Trouble(AccountTrouble::KeyRejected)),
    ("sim-forbidden", Special::Trouble(AccountTrouble::Forbidden)),
    ("sim-error", Special::Trouble(AccountTrouble::Error)),
    ("sim-down", Special::Trouble(AccountTrouble::Down)),
    ("sim-garbage", Special::Trouble(AccountTrouble::Garbage)),
    ("sim-redirect", Special::Trouble(AccountTrouble::Redirect)),
];

#[derive(Debug, Clone, Copy)]
enum Special {
    Refused(&'static str),
    Trouble(AccountTrouble),
}

/// Ways in which upstream fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AccountTrouble {
    /// 401: the API key is unknown.
    KeyRejected,
    /// 403: the address of the caller is not on the allow-list.
    Forbidden,
    /// 500.
    Error,
    /// Answers late.
    Slow,
    /// Breaks the connection off.
    Down,
    /// Answers with something that is not the API's.
    Garbage,
    /// Answers with a redirect.
    Redirect,
}

/// Outcome of an operation.
#[derive(Debug)]
pub(super) enum AccountOutcome {
    /// Status 200 with this `message`.
    Done(Message),
    /// Status 400 with these descriptions.
    Refused(Vec<&'static str>),
    /// Failure in one of upstream's ways.
    Trouble(AccountTrouble),
}

/// A `message`, in the order and with the names of the document.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Message {
    Text(&'static str),
    Invited(Vec<Invited>),
    Link { rpc_redirect_link: String },
    Users(Users),
}

#[derive(Debug, Serialize)]
pub(super) struct Invited {
    username: String,
    status: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Users {
    #[serde(rename = "resellerUsersList")]
    list: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    alloted_computers: u64,
    created_date: String,
    #[serde(rename = "isActive")]
    is_active: bool,
    utilized_computers: u64,
    username: String,
}

impl Account {
    /// Returns an account with this number of users.
    pub(super) fn with_users(count: u32, now: &Zoned) -> Self {
        let mut account = Self::default();
        for number in 1..=count {
            let user = SimulatedUser { password: None, computers: u64::from(number), created: us_date(now) };
            account.users.insert(format!("user{number}@example.com"), user);
        }
        account
    }

    /// `user/add`
    pub(super) fn add(&mut self, said: &RequestBody, now: &Zoned) -> AccountOutcome {
        let mut faults = Vec::new();
        let mut required = |name, fault| match said.text(name) {
            Some(text) if !text.trim().is_empty() => text,
            _ => {
                faults.push(fault);
                ""
            }
        };
        required("firstName", "FIRSTNAME_REQUIRED");
        required("lastName", "LASTNAME_REQUIRED");
        let email = required("invitedUserEmailId", "EMAILID_REQUIRED").to_owned();
        let password = required("password", "PASSWORD_REQUIRED").to_owned();
        if !email.is_empty() && !is_email(&email) {
            faults.push("ENTER_VALID_EMAIL");
        }
        if !password.is_empty() && password.chars().count() < SHORTEST_PASSWORD {
            faults.push("INVALID_PASSWORD");
        }
        if !faults.is_empty() {
            return AccountOutcome::Refused(faults);
        }
        if let Some(special) = special(&email) {
            return special;
        }
        if self.users.get(&key(&email)).is_some_and(|user| user.password.is_some()) {
            return AccountOutcome::Refused(vec!["EMAIL_EXISTS"]);
        }
        let computers = said.number("allotedComputers").unwrap_or_default();
        let user = SimulatedUser { password: Some(digest(&password)), computers, created: us_date(now) };
        self.users.insert(key(&email), user);
        AccountOutcome::Done(Message::Text("SUCCESS"))
    }

    /// `user/invite`
    pub(super) fn invite(&mut self, all: &[RequestBody], now: &Zoned) -> AccountOutcome {
        let mut faults = Vec::new();
        for said in all {
            match said.text("invitedUserEmailId") {
                None | Some("") => faults.push("EMAILID_REQUIRED"),
                Some(email) if !is_email(email) => faults.push("ENTER_VALID_EMAIL"),
                Some(_) => {}
            }
        }
        if !faults.is_empty() {
            return AccountOutcome::Refused(faults);
        }
        let mut told = Vec::new();
        for said in all {
            let email = said.text("invitedUserEmailId").unwrap_or_default();
            let status = match (special(email), self.users.get(&key(email))) {
                (Some(AccountOutcome::Refused(_)), _)
                | (None, Some(SimulatedUser { password: Some(_), .. })) => "EXISTS",
                (Some(trouble), _) => return trouble,
                (None, Some(SimulatedUser { password: None, .. })) => "ALREADY_INVITED",
                (None, None) => {
                    let computers = said.number("allotedComputers").unwrap_or_default();
                    let user = SimulatedUser { password: None, computers, created: us_date(now) };
                    self.users.insert(key(email), user);
                    "INVITED"
                }
            };
            told.push(Invited { username: email.to_owned(), status });
        }
        AccountOutcome::Done(Message::Invited(told))
    }

    /// `user/signin`; `token` becomes a part of the link, if there is one.
    pub(super) fn sign_in(&mut self, said: &RequestBody, token: &str, base: &str) -> AccountOutcome {
        let (username, password) =
            (said.text("username").unwrap_or_default(), said.text("password").unwrap_or_default());
        let mut faults = Vec::new();
        if username.is_empty() {
            faults.push("USERNAME_REQUIRED");
        }
        if password.is_empty() {
            faults.push("PASSWORD_REQUIRED");
        }
        if !username.is_empty() && !is_email(username) {
            faults.push("INVALID_EMAIL");
        }
        if !faults.is_empty() {
            return AccountOutcome::Refused(faults);
        }
        if let Some(special) = special(username) {
            return special;
        }
        match self.users.get(&key(username)).and_then(|user| user.password) {
            None => AccountOutcome::Refused(vec!["USERNAME_DOES_NOT_EXIST"]),
            Some(known) if known != digest(password) => AccountOutcome::Refused(vec!["INVALID_PASSWORD"]),
            Some(_) => {
                self.links.insert(token.to_owned(), key(username));
                AccountOutcome::Done(Message::Link { rpc_redirect_link: format!("{base}/autologin/{token}") })
            }
        }
    }

    /// `user/list`
    pub(super) fn list(&self) -> AccountOutcome {
        let listed = self.users.iter().map(|(name, user)| Listed {
            alloted_computers: user.computers,
            created_date: user.created.clone(),
            is_active: user.password.is_some(),
            utilized_computers: 0,
            username: name.clone(),
        });
        AccountOutcome::Done(Message::Users(Users { list: listed.collect() }))
    }

    /// Returns the user name of a sign-in link, which works once.
    pub(super) fn follow(&mut self, token: &str) -> Option<String> {
        self.links.remove(token)
    }
}

/// Returns whether a body names an address that selects a late answer. The answer itself is the usual one.
pub(super) fn is_slow(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).to_ascii_lowercase().contains("\"sim-slow@")
}

/// Outcome that an address selects by its name alone.
fn special(email: &str) -> Option<AccountOutcome> {
    let name = key(email);
    let local = name.split('@').next().unwrap_or_default();
    BY_ADDRESS.iter().find(|(special, _)| *special == local).map(|(_, special)| match special {
        Special::Refused(word) => AccountOutcome::Refused(vec![word]),
        Special::Trouble(trouble) => AccountOutcome::Trouble(*trouble),
    })
}

fn key(email: &str) -> String {
    email.to_ascii_lowercase()
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password).into()
}

fn us_date(now: &Zoned) -> String {
    now.strftime("%m-%d-%Y").to_string()
}

/// Enough of a check for a simulator: something, one `@`, and a name with a dot.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.split_once('@') else { return false };
    let dotted = host.split('.').count() > 1 && host.split('.').all(|label| !label.is_empty());
    !local.is_empty() && dotted && !text.contains(char::is_whitespace) && !host.contains('@')
}
