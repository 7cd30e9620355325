//! Durable storage of callbacks: many of them in one commit.
//!
//! The module does not depend on HTTP, and no call returns before the store's COMMIT has returned.

mod recorder;

pub use recorder::{QUEUE, RecordError, Recorder, Writer};
