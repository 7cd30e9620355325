//! The client of RemotePC's reseller API: four operations, typed both ways, and every way in which they fail.
//!
//! It forwards what it was given and hands back what upstream answered, byte for byte; it only refuses what the
//! document says is bad input, in upstream's own words and without a call. It keeps nothing, writes no logs, and
//! knows no other room but the domain. What it holds may be a password or a link that signs somebody in: no type
//! here shows such a thing, or a user's address, in its `Debug` or in an error.

mod addressed_users;
mod client;
mod connect;
mod envelope;
mod error;
mod fields;
mod fingerprint;
mod request;
mod response;
mod sign_in_links;
mod user_list_cache;
mod view;

pub use addressed_users::addressed_users;
pub use client::{Client, Operation, Settings};
pub use envelope::error_envelope;
pub use error::{BadResponse, CallError, ClientError};
pub use fields::{ErrorCode, Refusal};
pub use request::{AddUser, Invitation, InviteUsers, NewUser, SignIn};
pub use response::UpstreamResponse;
pub use sign_in_links::{SignInLink, SignInLinks, Waiting};
pub use user_list_cache::{Listing, SortBy, Totals, User, UserFilter, UserListCache, UserListError};
pub use view::{InviteResult, InviteStatus, ResellerUser, Username, ViewError};

/// JSON without the byte-order mark that some programs put before it.
fn without_mark(body: bytes::Bytes) -> bytes::Bytes {
    if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body }
}
