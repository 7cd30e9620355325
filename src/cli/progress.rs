//! Progress bar of bulk work: on stderr, and only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that goes away when the work is over.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many things.
    pub(super) fn of(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left");
        Self(bar.with_style(style.expect("the template is right")))
    }

    /// So many more are done.
    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Writes lines of its own, which the bar does not garble.
    pub(super) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
