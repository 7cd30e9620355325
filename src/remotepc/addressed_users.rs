//! Users that a request is about, as far as its body can be read. The audit log names them also for refused requests.

use serde_json::value::RawValue;

use super::Operation;
use super::fields::Fields;
use super::request::{EMAIL, USERNAME};
use crate::domain::is_email_address;

/// Returns the e-mail addresses in a body, as they are written. Other texts are left out: they may be a password in the wrong field.
#[must_use]
pub fn addressed_users(operation: Operation, body: &[u8]) -> Vec<String> {
    match operation {
        Operation::Add => address(body, EMAIL).into_iter().collect(),
        Operation::Invite => {
            let entries: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
            entries.iter().filter_map(|entry| address(entry.get().as_bytes(), EMAIL)).collect()
        }
        Operation::SignIn => address(body, USERNAME).into_iter().collect(),
        Operation::List => Vec::new(),
    }
}

fn address(json: &[u8], name: &str) -> Option<String> {
    let text: String = Fields::read(json).ok()?.optional(name).ok()??;
    is_email_address(&text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Operation::Add, r#"{"invitedUserEmailId":"Jane@example.com"}"#, &["Jane@example.com"])]
    #[case(Operation::Add, r#"{"invitedUserEmailId":"pass-word"}"#, &[])]
    #[case(Operation::Add, r#"{"invitedUserEmailId":7}"#, &[])]
    #[case(Operation::Add, "[]", &[])]
    #[case(
        Operation::Invite,
        r#"[{"invitedUserEmailId":"a@example.com"},7,{"invitedUserEmailId":"b"},{"invitedUserEmailId":"c@example.com"}]"#,
        &["a@example.com", "c@example.com"]
    )]
    #[case(Operation::Invite, "{", &[])]
    #[case(Operation::SignIn, r#"{"username":"jane@example.com"}"#, &["jane@example.com"])]
    #[case(Operation::SignIn, r#"{"username":"pass-word"}"#, &[])]
    #[case(Operation::List, r#"{"username":"jane"}"#, &[])]
    fn whom_a_body_names(#[case] operation: Operation, #[case] body: &str, #[case] expected: &[&str]) {
        assert_eq!(addressed_users(operation, body.as_bytes()), expected);
    }
}
