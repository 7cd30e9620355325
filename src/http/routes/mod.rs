//! One file a resource.

pub(super) mod audit;
pub(super) mod callback;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod health;
pub(crate) mod remotepc;
pub(crate) mod remotepc_sessions;
pub(crate) mod remotepc_users;
