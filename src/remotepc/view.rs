//! Typed views of upstream's answers, for remgate's own use. Answers that are passed on do not depend on them.

use std::fmt;

use jiff::civil::Date;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UpstreamResponse;
use crate::domain::sanitize_code;

/// The answer is no success, or its `message` does not have the documented form. The text does not quote the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("upstream's message does not have the documented shape")]
pub struct ViewError;

/// User name at `RemotePC`, usually an e-mail address. Never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(String);

impl Username {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(..)")
    }
}

/// Result of one invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteResult {
    /// Address that was invited.
    pub username: Username,
    /// Status of the invitation.
    pub status: InviteStatus,
}

/// Status of an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum InviteStatus {
    /// The invitation was sent.
    Invited,
    /// The user had been invited before.
    AlreadyInvited,
    /// An account exists already.
    Exists,
    /// Status that the document does not have.
    Other(String),
}

impl InviteStatus {
    /// Upstream's word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invited => "INVITED",
            Self::AlreadyInvited => "ALREADY_INVITED",
            Self::Exists => "EXISTS",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for InviteStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "INVITED" => Self::Invited,
            "ALREADY_INVITED" => Self::AlreadyInvited,
            "EXISTS" => Self::Exists,
            _ => Self::Other(word),
        }
    }
}

impl From<InviteStatus> for String {
    fn from(status: InviteStatus) -> Self {
        status.as_str().to_owned()
    }
}

/// User at `RemotePC`, with upstream's field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResellerUser {
    /// Their name.
    pub username: Username,
    /// Maximum number of computers; 0 if upstream's value cannot be parsed.
    #[serde(default, deserialize_with = "read_count")]
    pub alloted_computers: u64,
    /// Number of computers that were set up; 0 if upstream's value cannot be parsed.
    #[serde(default, deserialize_with = "read_count")]
    pub utilized_computers: u64,
    /// Since when they have been there, if upstream says so in a way that can be read; `MM-DD-YYYY` on the wire, without a time zone.
    #[serde(default, deserialize_with = "read_date", serialize_with = "write_date")]
    pub created_date: Option<Date>,
    /// True if they may sign in.
    #[serde(rename = "isActive", default, deserialize_with = "read_flag")]
    pub is_active: bool,
}

/// Maximum number of error descriptions that are read.
const WORDS_MAX: usize = 8;

const DATE: &str = "%m-%d-%Y";

fn read_count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(serde_json::Value::deserialize(from)?.as_u64().unwrap_or_default())
}

fn read_flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(serde_json::Value::deserialize(from)?.as_bool().unwrap_or_default())
}

fn read_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
    let said = serde_json::Value::deserialize(from)?;
    Ok(said.as_str().and_then(|text| Date::strptime(DATE, text).ok()))
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes the field as it is")]
fn write_date<S: Serializer>(date: &Option<Date>, to: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => to.collect_str(&date.strftime(DATE)),
        None => to.serialize_none(),
    }
}

impl UpstreamResponse {
    /// Returns the result of each invitation.
    pub fn invite_results(&self) -> Result<Vec<InviteResult>, ViewError> {
        self.message()
    }

    /// Returns the users of a list.
    pub fn users(&self) -> Result<Vec<ResellerUser>, ViewError> {
        #[derive(Deserialize)]
        struct UserListJson {
            #[serde(rename = "resellerUsersList")]
            users: Vec<serde_json::Value>,
        }
        // A user that cannot be parsed, such as one without a name, does not hide the others.
        let UserListJson { users } = self.message()?;
        Ok(users.into_iter().filter_map(|user| serde_json::from_value(user).ok()).collect())
    }

    /// Returns the link of a sign-in, which is a secret.
    pub fn redirect_link(&self) -> Result<SecretString, ViewError> {
        #[derive(Deserialize)]
        struct LinkJson {
            rpc_redirect_link: SecretString,
        }
        self.message().map(|LinkJson { rpc_redirect_link }| rpc_redirect_link)
    }

    /// Returns the error descriptions of upstream, without the space at the end of some; empty for a success.
    #[must_use]
    pub fn error_words(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Entry {
            description: String,
        }
        let entries: Vec<Entry> = self
            .envelope()
            .errors
            .and_then(|errors| serde_json::from_str(errors.get()).ok())
            .unwrap_or_default();
        let words = entries.iter().map(|entry| sanitize_code(entry.description.trim()).to_owned());
        words.take(WORDS_MAX).collect()
    }

    fn message<T: serde::de::DeserializeOwned>(&self) -> Result<T, ViewError> {
        let message = self.envelope().message.filter(|_| self.is_success()).ok_or(ViewError)?;
        serde_json::from_str(message.get()).map_err(|_| ViewError)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use jiff::civil::date;
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::*;

    fn answer(body: &Value) -> UpstreamResponse {
        UpstreamResponse::read(StatusCode::OK, &HeaderMap::new(), Bytes::from(body.to_string())).unwrap()
    }

    fn ok(message: &Value) -> UpstreamResponse {
        answer(&json!({"status": "OK", "code": 200, "message": message}))
    }

    #[test]
    fn invitations_in_the_documents_words_and_in_others() {
        let message = json!([
            {"username": "a@example.com", "status": "ALREADY_INVITED"},
            {"username": "b@example.com", "status": "EXISTS"},
            {"username": "c@example.com", "status": "INVITED", "since": 1},
            {"username": "d@example.com", "status": "BLOCKED"}
        ]);
        let results = ok(&message).invite_results().unwrap();
        let statuses: Vec<_> = results.iter().map(|result| result.status.clone()).collect();
        assert_eq!(
            statuses,
            [
                InviteStatus::AlreadyInvited,
                InviteStatus::Exists,
                InviteStatus::Invited,
                InviteStatus::Other("BLOCKED".to_owned())
            ]
        );
        assert_eq!(results[0].username.as_str(), "a@example.com");
        assert_eq!(
            serde_json::to_value(&results[3]).unwrap(),
            json!({"username": "d@example.com", "status": "BLOCKED"})
        );
        assert!(!format!("{results:?}").contains("example.com"));
    }

    #[test]
    fn users_keep_the_wires_spelling() {
        let wire = json!({
            "alloted_computers": 425, "created_date": "01-25-2023", "isActive": true,
            "utilized_computers": 3, "username": "jane@example.com"
        });
        let users = ok(&json!({"resellerUsersList": [wire], "total": 1})).users().unwrap();
        assert_eq!(users[0].created_date, Some(date(2023, 1, 25)));
        assert_eq!(
            (users[0].alloted_computers, users[0].utilized_computers, users[0].is_active),
            (425, 3, true)
        );
        assert_eq!(serde_json::to_value(&users[0]).unwrap(), wire);
        assert!(!format!("{users:?}").contains("jane"));
    }

    #[rstest::rstest]
    #[case(json!("02-29-2024"), true)]
    #[case(json!(null), false)]
    #[case(json!(""), false)]
    #[case(json!("02-30-2024"), false)]
    #[case(json!("2024-02-29"), false)]
    #[case(json!(20_240_229), false)]
    fn dates_have_the_month_first(#[case] said: Value, #[case] reads: bool) {
        let user = json!({"alloted_computers": 0, "created_date": said, "isActive": true,
            "utilized_computers": 0, "username": "jane@example.com"});
        let users = ok(&json!({"resellerUsersList": [user]})).users().unwrap();
        assert_eq!(users[0].created_date, reads.then(|| date(2024, 2, 29)));
    }

    #[test]
    fn an_odd_user_does_not_hide_the_others() {
        let odd = json!({"username": "odd@example.com", "alloted_computers": -1, "isActive": "yes"});
        let users = ok(&json!({"resellerUsersList": [{"alloted_computers": 1}, 7, odd]})).users().unwrap();
        assert_eq!(users.len(), 1);
        assert_eq!(
            (users[0].alloted_computers, users[0].utilized_computers, users[0].is_active),
            (0, 0, false)
        );
    }

    #[test]
    fn a_link_is_handed_out_hidden() {
        let answer = ok(&json!({"rpc_redirect_link": "https://login.example/planted"}));
        let link = answer.redirect_link().unwrap();
        assert_eq!(link.expose_secret(), "https://login.example/planted");
        assert!(!format!("{link:?} {answer:?}").contains("planted"));
    }

    #[test]
    fn an_error_has_words_and_no_view() {
        let answer = answer(&json!({"status": "Forbidden", "code": 403, "errorsCount": 2,
            "errors": [{"description": "Forbidden "}, {"description": "IP_ADDRESS_BLOCKED"}], "message": []}));
        assert_eq!(answer.error_words(), ["Forbidden", "IP_ADDRESS_BLOCKED"]);
        assert_eq!(answer.invite_results(), Err(ViewError));
        assert!(ok(&json!("SUCCESS")).error_words().is_empty());
        assert_eq!(ok(&json!("SUCCESS")).users(), Err(ViewError));
    }
}
