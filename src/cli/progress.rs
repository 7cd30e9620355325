//! Progress bar on stderr, shown only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Progress bar, removed on drop.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many things.
    pub(super) fn of(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left");
        Self(bar.with_style(style.expect("the template is right")))
    }

    /// Adds finished items.
    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Runs code that prints lines above the bar.
    pub(super) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
