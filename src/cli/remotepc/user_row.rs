//! User who is to be added or invited: validation, the request to the internal listener, and its outcome.

use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::cli::client::{ApiClient, ApiError, LONG_TIMEOUT};
use crate::cli::output;
use crate::domain::{Clock, SystemClock, is_email_address};

pub(super) const EMAIL: &str = "invitedUserEmailId";
pub(super) const PASSWORD: &str = "password";

/// Operation of bulk work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserOperation {
    Add,
    Invite,
}

/// Type of a column.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Number,
    Flag,
}

impl UserOperation {
    fn path(self) -> &'static str {
        match self {
            Self::Add => "/admin/remotepc/user/add",
            Self::Invite => "/admin/remotepc/user/invite",
        }
    }

    /// Upstream's fields without the password, each with the error code for a missing one.
    fn fields(self) -> &'static [(&'static str, Form, Option<&'static str>)] {
        match self {
            Self::Add => &[
                ("firstName", Form::Text, Some("FIRSTNAME_REQUIRED")),
                ("lastName", Form::Text, Some("LASTNAME_REQUIRED")),
                (EMAIL, Form::Text, Some("EMAILID_REQUIRED")),
                ("allotedComputers", Form::Number, None),
                ("sendEmailToUser", Form::Flag, None),
            ],
            Self::Invite => {
                &[(EMAIL, Form::Text, Some("EMAILID_REQUIRED")), ("allotedComputers", Form::Number, None)]
            }
        }
    }

    /// Returns the columns that a file may have.
    pub(super) fn columns(self) -> Vec<&'static str> {
        let password = (self == Self::Add).then_some(PASSWORD);
        self.fields().iter().map(|(name, ..)| *name).chain(password).collect()
    }

    /// Returns the columns that a file must have.
    pub(super) fn required(self) -> impl Iterator<Item = &'static str> {
        self.fields().iter().filter(|(.., missing)| missing.is_some()).map(|(name, ..)| *name)
    }
}

/// User. Has no `Debug`, since it holds a password.
pub(super) struct UserRow {
    kind: UserOperation,
    fields: Map<String, Json>,
    password: Option<SecretString>,
    faults: Vec<&'static str>,
}

/// Outcome of a request for one user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendOutcome {
    /// Done, in upstream's word.
    Done(String),
    /// Failed with these error codes.
    Failed(String),
    /// Failed for a reason that concerns all other users, too.
    Abort(String),
}

impl UserRow {
    /// Reads the cells of a row by their columns; an empty one is left out.
    pub(super) fn new<N: AsRef<str>>(
        kind: UserOperation,
        cells: &[(N, String)],
        password: Option<SecretString>,
    ) -> Self {
        let mut row = Self { kind, fields: Map::new(), password, faults: Vec::new() };
        for (name, form, missing) in kind.fields() {
            let cell = cells.iter().find(|(column, _)| column.as_ref() == *name);
            match cell.map(|(_, text)| text.trim()).filter(|text| !text.is_empty()) {
                Some(text) => row.take(name, *form, text),
                None => row.faults.extend(*missing),
            }
        }
        if kind == UserOperation::Add
            && row.password.as_ref().is_none_or(|row| row.expose_secret().trim().is_empty())
        {
            row.faults.push("PASSWORD_REQUIRED");
        }
        row
    }

    fn take(&mut self, name: &str, form: Form, text: &str) {
        let value = match form {
            Form::Text => Some(json!(text)),
            // Numbers are passed on as they are written, also `1.0`.
            Form::Number => serde_json::from_str(text).ok().filter(is_count),
            Form::Flag => text.to_ascii_lowercase().parse::<bool>().ok().map(|flag| json!(flag)),
        };
        if name == EMAIL && !is_email_address(text) {
            self.faults.push("ENTER_VALID_EMAIL");
        }
        match value {
            Some(value) => drop(self.fields.insert(name.to_owned(), value)),
            None => self.faults.push("INVALID_REQUEST"),
        }
    }

    /// Faults of the row, as upstream's error codes.
    pub(super) fn faults(&self) -> &[&'static str] {
        &self.faults
    }

    /// Their address.
    pub(super) fn name(&self) -> &str {
        self.fields.get(EMAIL).and_then(Json::as_str).unwrap_or("-")
    }

    /// Sends the request. With a `salt` it has an `Idempotency-Key`, the same for the same user and salt.
    pub(super) async fn send(&self, client: &ApiClient, salt: Option<&str>) -> Result<SendOutcome, ApiError> {
        if !self.faults.is_empty() {
            return Ok(SendOutcome::Failed(self.faults.join(" ")));
        }
        let key = salt.map(|salt| self.key(salt));
        let body = self.body();
        // The same row may still be under way, from an interrupted run.
        for _ in 0..60 {
            let (status, told) =
                client.exchange(self.kind.path(), &body, key.as_deref(), LONG_TIMEOUT).await?;
            // Only remgate answers so, and only about the key of this request: nothing else may be sent again.
            if key.is_none() || words(status, &told) != IN_USE {
                return Ok(self.told(status, &told));
            }
            SystemClock.sleep(Duration::from_secs(1)).await;
        }
        // The row has no outcome, so it keeps its key: with another key it could be executed twice at once.
        Ok(SendOutcome::Abort(IN_USE.to_owned()))
    }

    fn body(&self) -> Json {
        let mut fields = self.fields.clone();
        if let Some(password) = &self.password {
            fields.insert(PASSWORD.to_owned(), json!(password.expose_secret()));
        }
        match self.kind {
            UserOperation::Add => fields.into(),
            UserOperation::Invite => json!([fields]),
        }
    }

    /// The key does not depend on the password.
    fn key(&self, salt: &str) -> String {
        let text = json!([self.kind.path(), self.fields, salt]).to_string();
        let digest = Sha256::digest(text);
        let digits: Vec<_> = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("csv-{}", digits.concat())
    }

    /// Returns upstream's text, unless it repeats the password.
    fn safe(&self, words: String) -> String {
        let repeats = |password: &SecretString| words.contains(password.expose_secret());
        if self.password.as_ref().is_some_and(repeats) { "OTHER".to_owned() } else { words }
    }

    fn told(&self, status: StatusCode, told: &Json) -> SendOutcome {
        let word = match self.kind {
            UserOperation::Add => &told["message"],
            UserOperation::Invite => &told["message"][0]["status"],
        };
        let code = told["code"].as_u64().unwrap_or_default();
        match word.as_str() {
            Some(word) if status.is_success() && (200..300).contains(&code) => match self.kind {
                UserOperation::Invite if !["INVITED", "ALREADY_INVITED", "EXISTS"].contains(&word) => {
                    SendOutcome::Failed(self.safe(output::field(&word.into())))
                }
                _ => SendOutcome::Done(self.safe(output::field(&word.into()))),
            },
            _ if is_hopeless(status, told) => SendOutcome::Abort(self.safe(words(status, told))),
            _ => SendOutcome::Failed(self.safe(words(status, told))),
        }
    }
}

/// Returns whether the value is a number that is not negative.
fn is_count(value: &Json) -> bool {
    value.as_f64().is_some_and(|number| number >= 0.0)
}

/// The same request is still under way.
const IN_USE: &str = "IDEMPOTENCY_KEY_IN_USE";

/// Returns whether the failure concerns keys, addresses or settings, and so not the user.
fn is_hopeless(status: StatusCode, told: &Json) -> bool {
    let word = told["errors"][0]["description"].as_str().unwrap_or_default();
    matches!(status.as_u16(), 401 | 403 | 404 | 405 | 421)
        || ["REMOTEPC_KEY_REJECTED", "REMOTEPC_NOT_CONFIGURED", "UNAVAILABLE"].contains(&word)
}

/// Error descriptions of an answer in upstream's envelope.
pub(super) fn words(status: StatusCode, told: &Json) -> String {
    let errors = told["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<_> = errors.iter().map(|error| output::field(&error["description"])).collect();
    let words = words.iter().map(|word| word.trim()).collect::<Vec<_>>().join(" ");
    if words.is_empty() { format!("HTTP {}", status.as_u16()) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(email: &str, computers: &str) -> UserRow {
        let cells = [(EMAIL, email.to_owned()), ("allotedComputers", computers.to_owned())];
        UserRow::new(UserOperation::Invite, &cells, None)
    }

    #[rstest::rstest]
    #[case("a@example.com", "1", &[])]
    #[case(" a@example.com ", "", &[])]
    #[case("a@example.com", "1.0", &[])]
    #[case("a@example.com", "true", &["INVALID_REQUEST"])]
    #[case("a@example.com", "1,5", &["INVALID_REQUEST"])]
    #[case("", "1", &["EMAILID_REQUIRED"])]
    #[case("a", "-1", &["ENTER_VALID_EMAIL", "INVALID_REQUEST"])]
    fn faults_have_upstreams_words(#[case] email: &str, #[case] computers: &str, #[case] faults: &[&str]) {
        assert_eq!(invite(email, computers).faults(), faults);
    }

    #[test]
    fn an_addition_needs_a_password_that_leaves_no_trace_in_its_key() {
        let cells = [
            ("firstName", "J".to_owned()),
            ("lastName", "D".to_owned()),
            (EMAIL, "j@example.com".to_owned()),
            ("sendEmailToUser", "TRUE".to_owned()),
        ];
        let person =
            |password: Option<&str>| UserRow::new(UserOperation::Add, &cells, password.map(Into::into));
        assert_eq!(person(None).faults(), ["PASSWORD_REQUIRED"]);
        assert_eq!(person(Some(" ")).faults(), ["PASSWORD_REQUIRED"]);
        assert_eq!(person(Some("a")).key("x"), person(Some("b")).key("x"));
        assert_ne!(person(Some("a")).key("x"), person(Some("a")).key("y"));
        assert_eq!(person(Some("a")).body()["sendEmailToUser"], true);
    }

    #[rstest::rstest]
    #[case(200, json!({"code": 200, "message": [{"status": "EXISTS"}]}), SendOutcome::Done("EXISTS".to_owned()))]
    #[case(200, json!({"code": 200, "message": [{"status": "BLOCKED"}]}), SendOutcome::Failed("BLOCKED".to_owned()))]
    #[case(200, json!({"code": 400, "errors": [{"description": "X"}]}), SendOutcome::Failed("X".to_owned()))]
    #[case(403, json!({"code": 403, "errors": [{"description": "Forbidden "}]}), SendOutcome::Abort("Forbidden".to_owned()))]
    #[case(502, json!({"errors": [{"description": "REMOTEPC_KEY_REJECTED"}]}), SendOutcome::Abort("REMOTEPC_KEY_REJECTED".to_owned()))]
    #[case(504, json!({"errors": [{"description": "REMOTEPC_TIMEOUT"}]}), SendOutcome::Failed("REMOTEPC_TIMEOUT".to_owned()))]
    #[case(500, json!(null), SendOutcome::Failed("HTTP 500".to_owned()))]
    fn answers(#[case] status: u16, #[case] told: Json, #[case] expected: SendOutcome) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(invite("a@example.com", "1").told(status, &told), expected);
    }
}
