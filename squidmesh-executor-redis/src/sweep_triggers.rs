//! What makes the sweeper look into the store sooner: announcements may be lost, or work becomes due at a known
//! time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Reasons to look into the store sooner.
#[derive(Default)]
pub(crate) struct SweepTriggers {
    triggered: Mutex<Triggered>,
    wake: Notify,
}

/// The triggers since they were last taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Triggered {
    /// Redis was unreachable, or has lost data: announcements may be gone. The first process to look sweeps all
    /// due work.
    pub(crate) may_be_lost: bool,
    /// Announcements of this process were dropped: it must sweep by itself.
    pub(crate) dropped: bool,
    /// When work that this process dispatched becomes due.
    pub(crate) due_at: Option<Instant>,
}

impl SweepTriggers {
    pub(crate) fn announcements_may_be_lost(&self) {
        self.trigger(|triggered| !std::mem::replace(&mut triggered.may_be_lost, true));
    }

    pub(crate) fn announcements_were_dropped(&self) {
        self.trigger(|triggered| !std::mem::replace(&mut triggered.dropped, true));
    }

    pub(crate) fn work_becomes_due_in(&self, delay: Duration) {
        // A time beyond the range of the clock is found by the sweeps until then.
        let Some(at) = Instant::now().checked_add(delay) else { return };
        self.trigger(|triggered| {
            let sooner = triggered.due_at.is_none_or(|due| at < due);
            if sooner {
                triggered.due_at = Some(at);
            }
            sooner
        });
    }

    /// Returns the triggers since the last call.
    pub(crate) fn take(&self) -> Triggered {
        std::mem::take(&mut *self.lock())
    }

    /// Completes on a new trigger.
    pub(crate) async fn triggered(&self) {
        self.wake.notified().await;
    }

    fn trigger(&self, change: impl FnOnce(&mut Triggered) -> bool) {
        let is_new = change(&mut self.lock());
        if is_new {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Triggered> {
        self.triggered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
