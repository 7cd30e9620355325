//! Operations at RemotePC: upstream's own API, the user list, and sign-in links.

mod idempotency;
pub(crate) mod operations;
pub(crate) mod problem;
mod request;
pub(crate) mod sessions;
pub(crate) mod users;
