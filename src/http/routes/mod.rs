//! One file a resource.

pub(super) mod audit;
pub(super) mod authentications;
pub(super) mod callback;
mod consumers;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod health;
pub(super) mod keys;
pub(super) mod rejected_callbacks;
pub(crate) mod remotepc;
pub(crate) mod remotepc_sessions;
pub(crate) mod remotepc_users;
pub(super) mod stream;
pub(super) mod wait;
