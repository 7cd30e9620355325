//! The customer's side of RemAuth, as a library: `src/main.rs` runs it.
//!
//! `ARCHITECTURE.md` describes the modules; the documentation of each says what it is for and what it must not do.

pub mod audited;
pub mod authentications;
pub mod cli;
pub mod clock_steps;
pub mod config;
pub mod context;
pub mod dispatch;
pub mod domain;
pub mod egress;
pub mod fast_path;
pub mod gateway;
pub mod http;
pub mod intake;
pub mod lifecycle;
pub mod notifier;
pub mod provisioning;
pub mod remotepc;
pub mod resolver;
pub mod retention;
pub mod store;
pub mod telemetry;
