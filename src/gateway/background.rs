//! Background tasks: work that no request starts.

use crate::authentications::{Expiry, Follower};
use crate::clock_steps::ClockSteps;
use crate::lifecycle::Lifecycle;
use crate::provisioning::Provisioner;
use crate::retention::Retention;

/// Tasks that watch the store or the time.
pub(super) struct BackgroundTasks {
    pub(super) clock_steps: ClockSteps,
    pub(super) expiry: Expiry,
    pub(super) follower: Follower,
    pub(super) provisioner: Option<Provisioner>,
    pub(super) retention: Retention,
}

impl BackgroundTasks {
    /// Starts each task, until the soft stop.
    pub(super) fn begin(self, lifecycle: &Lifecycle) {
        lifecycle.spawn(self.clock_steps.run());
        lifecycle.spawn(self.expiry.run());
        lifecycle.spawn(self.follower.run());
        lifecycle.spawn(self.retention.run());
        if let Some(provisioner) = self.provisioner {
            lifecycle.spawn(provisioner.run());
        }
    }
}
