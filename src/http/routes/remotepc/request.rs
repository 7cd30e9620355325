//! Requests to RemotePC: parsing, validation, the call.

use std::error::Error as _;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::LengthLimitError;

use crate::audited::Failure;
use crate::http::extract::BODY_TIMEOUT;
use crate::remotepc::{
    AddUser, CallError, Client, ErrorCode, InviteUsers, Operation, Refusal, SignIn, UpstreamResponse,
    addressed_users,
};

/// Maximum length of a body in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// Request to upstream.
pub(super) enum RemotePcRequest {
    Add(AddUser),
    Invite(InviteUsers),
    SignIn(SignIn),
    List,
}

/// Parsed request: the users that it names, and the request itself if it is valid.
pub(super) struct Read {
    pub(super) whom: Vec<String>,
    pub(super) wanted: Result<RemotePcRequest, Failure>,
}

impl RemotePcRequest {
    /// Reads a request. Upstream's list is a POST without a body; whatever a client sends along is ignored.
    pub(super) async fn read(operation: Operation, request: Request) -> Read {
        if operation == Operation::List {
            return Read { whom: Vec::new(), wanted: Ok(Self::List) };
        }
        match json_body(request).await {
            Ok(body) => Read {
                whom: addressed_users(operation, &body),
                wanted: Self::parse(operation, body).map_err(Failure::Refused),
            },
            Err(failure) => Read { whom: Vec::new(), wanted: Err(failure) },
        }
    }

    fn parse(operation: Operation, body: Bytes) -> Result<Self, Refusal> {
        Ok(match operation {
            Operation::Add => Self::Add(AddUser::parse(body)?),
            Operation::Invite => Self::Invite(InviteUsers::parse(body)?),
            Operation::SignIn => Self::SignIn(SignIn::parse(body)?),
            Operation::List => Self::List,
        })
    }

    /// Makes the call.
    pub(super) async fn call(&self, client: &Client) -> Result<UpstreamResponse, CallError> {
        match self {
            Self::Add(user) => client.add(user).await,
            Self::Invite(users) => client.invite(users).await,
            Self::SignIn(user) => client.sign_in(user).await,
            Self::List => client.list().await,
        }
    }

    /// Fingerprint by which a repetition is recognised, for operations that must not be done twice.
    pub(super) fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Add(user) => Some(user.fingerprint()),
            Self::Invite(users) => Some(users.fingerprint()),
            Self::SignIn(_) | Self::List => None,
        }
    }

    /// Returns whether an answer may be stored.
    pub(super) fn is_kept(&self, answer: &UpstreamResponse) -> bool {
        let betrayed = matches!(self, Self::Add(user) if user.echoes_password(answer));
        answer.is_final() && !betrayed
    }

    /// Returns whether the request changes users.
    pub(super) fn changes_users(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Invite(_))
    }
}

async fn json_body(request: Request) -> Result<Bytes, Failure> {
    let (head, body) = request.into_parts();
    if !may_be_json(&head.headers) {
        return Err(Refusal::from(ErrorCode::InvalidRequest).into());
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_MAX)).await;
    whole.map_err(|_| Failure::RequestTimeout)?.map_err(|error| {
        if matches!(error.source(), Some(source) if source.is::<LengthLimitError>()) {
            Failure::TooLarge
        } else {
            Refusal::from(ErrorCode::InvalidRequest).into()
        }
    })
}

/// Reads a JSON body. A body without a content type counts as JSON.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let essence = content_type.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json")
}
