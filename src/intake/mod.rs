//! Durable storage of callbacks: many of them in one commit.
//!
//! Nothing here knows HTTP, and no call returns before the store's COMMIT has returned.

mod recorder;

pub use recorder::{QUEUE, RecordError, Recorder, Writer};
