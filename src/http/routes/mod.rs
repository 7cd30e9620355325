//! Handlers: one file a resource. The routes are mounted in `http/mod.rs`.

pub(super) mod audit;
pub(super) mod authentications;
pub(super) mod callback;
pub(super) mod consumers;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod health;
pub(super) mod keys;
pub(super) mod reading;
pub(super) mod rejected_callbacks;
pub(crate) mod remotepc;
pub(super) mod stream;
pub(super) mod wait;
