//! How callbacks become durable: many at once, in one commit.
//!
//! Nothing here knows HTTP, and nothing here answers before the store's COMMIT has returned.

mod recorder;

pub use recorder::{QUEUE, RecordError, Recorder, Writer};
