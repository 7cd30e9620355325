//! Whom a request is about, as far as it can be read: for the audit trail, also of requests that are refused.

use serde_json::value::RawValue;

use super::Operation;
use super::fields::Fields;
use super::request::{EMAIL, USERNAME};
use crate::domain::is_email_address;

/// The addresses or the user name in a body, as they are written. Where an address is wanted, what is none is left out:
/// it may be a password in the wrong place.
#[must_use]
pub fn named_in(operation: Operation, body: &[u8]) -> Vec<String> {
    match operation {
        Operation::Add => text(body, EMAIL).filter(|it| is_email_address(it)).into_iter().collect(),
        Operation::Invite => {
            let entries: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
            let texts = entries.iter().filter_map(|entry| text(entry.get().as_bytes(), EMAIL));
            texts.filter(|it| is_email_address(it)).collect()
        }
        Operation::SignIn => text(body, USERNAME).into_iter().collect(),
        Operation::List => Vec::new(),
    }
}

fn text(json: &[u8], name: &str) -> Option<String> {
    Fields::read(json).ok()?.optional(name).ok()?
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
    #[case(Operation::SignIn, r#"{"username":"jane"}"#, &["jane"])]
    #[case(Operation::List, r#"{"username":"jane"}"#, &[])]
    fn whom_a_body_names(#[case] operation: Operation, #[case] body: &str, #[case] expected: &[&str]) {
        assert_eq!(named_in(operation, body.as_bytes()), expected);
    }
}
