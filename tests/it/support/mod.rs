//! The harness: the real binary, a private PostgreSQL, an endpoint's receiver, and clients that ask.
//!
//! Everything is loopback, on ports of its own, in folders of its own; everything has a bound, and says what it
//! waited for when the bound is reached.

pub(crate) mod clients;
pub(crate) mod engine;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod junction;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod service;
pub(crate) mod source;
pub(crate) mod sse;

use std::future::Future;
use std::time::Duration;

/// Maximum time for which a test waits. Long, because it only ends tests that have failed already.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Returns the output of `future`; panics with `what` when that takes longer than [`BOUND`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_bound(BOUND, what, future).await
}

/// Output of `future`, or a panic that names `what` when that takes longer than `bound`.
pub(crate) async fn within_bound<T>(bound: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let value = tokio::time::timeout(bound, future).await;
    value.unwrap_or_else(|_| panic!("waited {bound:?} in vain for {what}"))
}
