//! Outgoing requests to receivers: address guard, HTTP client, and one signed attempt.
//!
//! The module decides whether an address may be connected to and reports the result of an attempt; the caller decides what
//! follows. It keeps only idle connections between attempts. Every request to an address that a caller chose goes through it.

mod answer;
mod body;
mod client;
mod connect;
mod connection;
mod error;
mod guard;
mod proxy;
mod ranges;
mod send;
#[cfg(test)]
mod tests;

pub use body::{Rendered, UnsupportedEvent, render};
pub use client::USER_AGENT;
pub use error::EgressError;
pub use guard::{Allowed, Guard, GuardRefusal};
pub use send::{Sender, SenderSettings};
