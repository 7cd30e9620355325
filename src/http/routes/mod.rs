//! One file a resource.

pub(super) mod callback;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod health;
pub(super) mod keys;
pub(crate) mod remotepc;
