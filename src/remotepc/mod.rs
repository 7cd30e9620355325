//! Client of RemotePC's reseller API: four operations with typed requests, answers and errors.
//!
//! Requests and answers are passed on byte for byte. Only input that the upstream document calls invalid is refused,
//! with upstream's own error code and without a call. The module keeps no state and writes no logs. Passwords,
//! sign-in links and addresses appear in no `Debug` and no error.

mod addressed_users;
mod client;
mod connect;
mod envelope;
mod error;
mod fields;
mod fingerprint;
mod request;
mod response;
mod settings;
mod sign_in_links;
mod user_list_cache;
mod view;

pub use addressed_users::addressed_users;
pub use client::{Client, Operation};
pub use envelope::error_envelope;
pub use error::{BadResponse, CallError, ClientError};
pub use fields::{ErrorCode, Refusal};
pub use request::{AddUser, Invitation, InviteUsers, NewUser, SignIn};
pub use response::UpstreamResponse;
pub use settings::RemotePcSettings;
pub use sign_in_links::{SignInLink, SignInLinks, WaitingLink};
pub use user_list_cache::{Listing, SortBy, Totals, User, UserFilter, UserListCache, UserListError};
pub use view::{InviteResult, InviteStatus, ResellerUser, Username, ViewError};

/// Returns JSON without the byte-order mark that some programs write before it.
fn without_mark(body: bytes::Bytes) -> bytes::Bytes {
    if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body }
}
