//! Requests to the reseller API: parsed from the client's bytes or built from typed parts, validated once, then
//! forwarded unchanged.

use std::fmt;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{ErrorCode, Faults, Fields, Refusal};
use crate::domain::is_email_address;

pub(super) const FIRST_NAME: &str = "firstName";
pub(super) const LAST_NAME: &str = "lastName";
pub(super) const EMAIL: &str = "invitedUserEmailId";
const PASSWORD: &str = "password";
pub(super) const COMPUTERS: &str = "allotedComputers";
pub(super) const SEND_EMAIL: &str = "sendEmailToUser";
pub(super) const USERNAME: &str = "username";

/// JSON for upstream, as the client wrote it. May hold a password.
#[derive(Clone)]
pub(super) struct Forwarded(Bytes);

impl Forwarded {
    pub(super) fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    fn write(value: &impl Serialize) -> Bytes {
        serde_json::to_vec(value).expect("texts, numbers and flags can always be written").into()
    }
}

/// Implements a `Debug` that shows the name of the type alone: the content is personal data.
macro_rules! hidden {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

hidden!(Forwarded, NewUser, AddUser, Invitation, InviteUsers, SignIn);

/// User to be added.
#[derive(Clone)]
pub struct NewUser {
    /// Their first name.
    pub first_name: String,
    /// Their last name.
    pub last_name: String,
    /// E-mail address, which becomes the user name.
    pub email: String,
    /// First password. Upstream decides whether it is strong enough.
    pub password: SecretString,
    /// Maximum number of computers; upstream's default is 0.
    pub computers: Option<u64>,
    /// True if upstream notifies the user by e-mail.
    pub send_email: Option<bool>,
}

/// Adds one user.
#[derive(Clone)]
pub struct AddUser {
    user: NewUser,
    body: Forwarded,
}

impl AddUser {
    /// Parses and validates a client's body: an object, whose unknown fields are forwarded.
    pub fn parse(body: Bytes) -> Result<Self, Refusal> {
        let fields = Fields::read(&body)?;
        let mut faults = Faults::default();
        let user = NewUser {
            first_name: faults.take(fields.required(FIRST_NAME, ErrorCode::FirstnameRequired)),
            last_name: faults.take(fields.required(LAST_NAME, ErrorCode::LastnameRequired)),
            email: faults.take(address(&fields)),
            password: faults.take(fields.required_secret(PASSWORD, ErrorCode::PasswordRequired)),
            computers: faults.take(fields.optional::<Count>(COMPUTERS)).map(|count| count.0),
            send_email: faults.take(fields.optional(SEND_EMAIL)),
        };
        faults.or(())?;
        Ok(Self { user, body: Forwarded(body) })
    }

    /// Returns the address of the user.
    #[must_use]
    pub fn user(&self) -> &NewUser {
        &self.user
    }

    pub(super) fn body(&self) -> &Forwarded {
        &self.body
    }
}

impl TryFrom<&NewUser> for AddUser {
    type Error = Refusal;

    fn try_from(user: &NewUser) -> Result<Self, Refusal> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct AddUserJson<'a> {
            first_name: &'a str,
            last_name: &'a str,
            invited_user_email_id: &'a str,
            password: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            alloted_computers: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            send_email_to_user: Option<bool>,
        }
        Self::parse(Forwarded::write(&AddUserJson {
            first_name: &user.first_name,
            last_name: &user.last_name,
            invited_user_email_id: &user.email,
            password: user.password.expose_secret(),
            alloted_computers: user.computers,
            send_email_to_user: user.send_email,
        }))
    }
}

/// User to be invited.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// E-mail address, which becomes the user name.
    pub email: String,
    /// Maximum number of computers; upstream's default is 0.
    pub computers: Option<u64>,
}

/// Invites one or more users.
#[derive(Clone)]
pub struct InviteUsers {
    invitations: Vec<Invitation>,
    body: Forwarded,
}

impl InviteUsers {
    /// Parses and validates a client's body: a list of at least one entry. An invalid entry refuses the whole list.
    pub fn parse(body: Bytes) -> Result<Self, Refusal> {
        let entries: Vec<&RawValue> = serde_json::from_slice(&body).map_err(|_| ErrorCode::InvalidRequest)?;
        if entries.is_empty() {
            return Err(ErrorCode::InvalidRequest.into());
        }
        let mut faults = Faults::default();
        let invitations = entries.iter().filter_map(|entry| invitation(entry, &mut faults)).collect();
        faults.or(())?;
        Ok(Self { invitations, body: Forwarded(body) })
    }

    /// Returns the addresses of the users.
    #[must_use]
    pub fn invitations(&self) -> &[Invitation] {
        &self.invitations
    }

    pub(super) fn body(&self) -> &Forwarded {
        &self.body
    }
}

impl<'a> TryFrom<&'a [Invitation]> for InviteUsers {
    type Error = Refusal;

    fn try_from(invitations: &'a [Invitation]) -> Result<Self, Refusal> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct InvitationJson<'a> {
            invited_user_email_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            alloted_computers: Option<u64>,
        }
        let wire = |i: &'a Invitation| InvitationJson {
            invited_user_email_id: &i.email,
            alloted_computers: i.computers,
        };
        let entries: Vec<_> = invitations.iter().map(wire).collect();
        Self::parse(Forwarded::write(&entries))
    }
}

/// A whole number that is not negative, as clients write it: `1`, `1.0` or `"1"`. The document asks for an integer and forbids
/// nothing else. Upstream gets the client's own bytes and decides about other notations.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let text = match &value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => return Err(D::Error::custom("a count is a number")),
        };
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        whole.parse().map(Self).map_err(|_| D::Error::custom("a count is a whole number"))
    }
}

/// Requests a link that signs a user in.
#[derive(Clone)]
pub struct SignIn {
    username: String,
    password: SecretString,
    body: Forwarded,
}

impl SignIn {
    /// Parses and validates a client's body: an object, whose unknown fields are forwarded.
    ///
    /// The user name need not be an e-mail address.
    pub fn parse(body: Bytes) -> Result<Self, Refusal> {
        let fields = Fields::read(&body)?;
        let mut faults = Faults::default();
        let username = faults.take(fields.required(USERNAME, ErrorCode::UsernameRequired));
        let password = faults.take(fields.required_secret(PASSWORD, ErrorCode::PasswordRequired));
        faults.or(())?;
        Ok(Self { username, password, body: Forwarded(body) })
    }

    /// Builds the request for a user and their password.
    pub fn new(username: &str, password: &SecretString) -> Result<Self, Refusal> {
        #[derive(Serialize)]
        struct SignInJson<'a> {
            username: &'a str,
            password: &'a str,
        }
        Self::parse(Forwarded::write(&SignInJson { username, password: password.expose_secret() }))
    }

    /// Returns the name of the user.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// With which password.
    #[must_use]
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    pub(super) fn body(&self) -> &Forwarded {
        &self.body
    }
}

fn invitation(entry: &RawValue, faults: &mut Faults) -> Option<Invitation> {
    let fields = match Fields::read(entry.get().as_bytes()) {
        Ok(fields) => fields,
        Err(word) => {
            faults.take::<()>(Err(word));
            return None;
        }
    };
    Some(Invitation {
        email: faults.take(address(&fields)),
        computers: faults.take(fields.optional::<Count>(COMPUTERS)).map(|count| count.0),
    })
}

fn address(fields: &Fields<'_>) -> Result<String, ErrorCode> {
    let text = fields.required(EMAIL, ErrorCode::EmailidRequired)?;
    if is_email_address(&text) { Ok(text) } else { Err(ErrorCode::EnterValidEmail) }
}

#[cfg(test)]
mod tests;
