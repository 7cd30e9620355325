//! How we reach out to receivers: the guard, the HTTP client, and one signed send.
//!
//! It decides whether an address may be connected to, and tells what one attempt saw. It does not decide what follows
//! from that, keeps nothing between two attempts but idle connections, and knows no room but the domain. Every request
//! to an address that somebody else chose goes through here.

mod answer;
mod body;
mod client;
mod connect;
mod connection;
mod guard;
mod proxy;
mod ranges;
mod send;
#[cfg(test)]
mod tests;

pub use body::{Rendered, UnsupportedEvent, render};
pub use client::{EgressError, USER_AGENT};
pub use guard::{Allowed, Guard, Refusal};
pub use send::{Sender, SenderSettings};
