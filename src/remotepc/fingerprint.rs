//! Fingerprint of a request, by which a repetition is recognised. Passwords are left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::Fields;
use super::request::{COMPUTERS, EMAIL, FIRST_NAME, LAST_NAME, SEND_EMAIL};
use super::{AddUser, InviteUsers, UpstreamResponse};

/// Fields that are part of the fingerprint; the password is not.
const DOCUMENTED: [&str; 5] = [FIRST_NAME, LAST_NAME, EMAIL, COMPUTERS, SEND_EMAIL];

impl AddUser {
    /// Returns the fingerprint of a request, which does not depend on its password. No part of the password is hashed, in whatever field.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update("add");
        count(&mut hash, &self.body().bytes(), Some(&self.user().password));
        STANDARD.encode(hash.finalize())
    }

    /// Returns whether an answer repeats the password. Texts of the upstream document never count, whatever the
    /// password is.
    #[must_use]
    pub fn echoes_password(&self, answer: &UpstreamResponse) -> bool {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Documented {
            #[serde(rename = "status")]
            _status: IgnoredAny,
            #[serde(rename = "code")]
            _code: IgnoredAny,
            message: String,
        }
        let documented = serde_json::from_slice(answer.body());
        if documented.is_ok_and(|answer: Documented| answer.message == "SUCCESS") {
            return false;
        }
        let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        holds(&told, &self.user().password)
    }
}

impl InviteUsers {
    /// Returns the fingerprint of a request.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let body = self.body().bytes();
        let entries: Vec<&RawValue> = serde_json::from_slice(&body).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update("invite");
        for entry in entries {
            count(&mut hash, entry.get().as_bytes(), None);
        }
        STANDARD.encode(hash.finalize())
    }
}

/// Adds an object to a hash: each field with its length, in the order of their names.
fn count(hash: &mut Sha256, object: &[u8], password: Option<&SecretString>) {
    let Ok(fields) = Fields::read(object) else { return };
    let counted: Vec<_> = fields.iter().filter(|(name, value)| may_count(name, value, password)).collect();
    hash.update(counted.len().to_le_bytes());
    for (name, value) in counted {
        for part in [name, value.get()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
}

/// Returns whether a field is hashed. A field that the document does not have may hold a password.
fn may_count(name: &str, value: &RawValue, password: Option<&SecretString>) -> bool {
    if DOCUMENTED.contains(&name) {
        // A password in the field of the user name must leave no trace either.
        let text: Result<String, _> = serde_json::from_str(value.get());
        return password.is_none_or(|password| text.as_deref().ok() != Some(password.expose_secret()));
    }
    let lower = name.to_lowercase();
    let secret = ["pass", "pwd", "secret", "credential", "token", "pin", "otp", "key"]
        .iter()
        .any(|word| lower.contains(word));
    let value: Value = serde_json::from_str(value.get()).unwrap_or_default();
    !secret && password.is_none_or(|password| !holds(&value, password))
}

fn holds(value: &Value, password: &SecretString) -> bool {
    let password = Value::from(password.expose_secret()).to_string();
    value.to_string().contains(password.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn add(more: &str) -> String {
        let body =
            format!(r#"{{"firstName":"J","lastName":"D","invitedUserEmailId":"j@example.com",{more}}}"#);
        AddUser::parse(body.into()).unwrap().fingerprint()
    }

    #[rstest::rstest]
    #[case(r#""password":"planted-1""#, true)]
    #[case(r#""password":"planted-2""#, true)]
    #[case(r#" "password" : "planted-1" "#, true)]
    #[case(r#""password":"planted-1","passwordAgain":"planted-1""#, true)]
    #[case(r#""password":"planted-1","again":["x pl\u0061nted-1"]"#, true)]
    #[case(r#""password":"planted-1","allotedComputers":1"#, false)]
    #[case(r#""password":"planted-1","team":"a""#, false)]
    fn the_password_counts_for_nothing(#[case] more: &str, #[case] same: bool) {
        assert_eq!(add(more) == add(r#""password":"planted-1""#), same);
    }

    #[test]
    fn every_entry_of_an_invitation_counts() {
        let of = |body: &str| InviteUsers::parse(body.to_owned().into()).unwrap().fingerprint();
        let one = r#"[{"invitedUserEmailId":"a@example.com"}]"#;
        assert_eq!(of(one), of(r#"[ { "invitedUserEmailId" : "a@example.com" } ]"#));
        for other in [
            r#"[{"invitedUserEmailId":"b@example.com"}]"#,
            r#"[{"invitedUserEmailId":"a@example.com","allotedComputers":0}]"#,
            r#"[{"invitedUserEmailId":"a@example.com"},{"invitedUserEmailId":"a@example.com"}]"#,
        ] {
            assert_ne!(of(one), of(other), "{other}");
        }
    }

    #[rstest::rstest]
    #[case(r#"{"status":"OK","code":200,"message":"SUCCESS"}"#, "SUCCESS", false)]
    #[case(r#"{"status":"OK","code":200,"message":"SUCCESS"}"#, "planted", false)]
    #[case(r#"{"status":"BAD","code":400,"errors":[{"description":"no: planted"}]}"#, "planted", true)]
    #[case(
        r#"{"status":"OK","code":200,"message":"SUCCESS","echo":{"password":"pl\u0061nted \"word\""}}"#,
        "planted \"word\"",
        true
    )]
    fn an_answer_that_repeats_the_password_is_seen(
        #[case] body: &str,
        #[case] password: &str,
        #[case] seen: bool,
    ) {
        let fields = serde_json::json!({"firstName": "J", "lastName": "D", "invitedUserEmailId": "j@example.com",
            "password": password});
        let user = AddUser::parse(fields.to_string().into()).unwrap();
        let answer =
            UpstreamResponse::read(StatusCode::OK, &HeaderMap::new(), body.to_owned().into()).unwrap();
        assert_eq!(user.echoes_password(&answer), seen);
    }
}
