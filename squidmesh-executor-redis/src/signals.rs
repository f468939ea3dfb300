//! What the parts of an executor tell the one that looks into the store: that announcements may be lost, and when something falls
//! due.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Reasons to look into the store sooner.
#[derive(Default)]
pub(crate) struct Signals {
    told: Mutex<Told>,
    wake: Notify,
}

/// What was told since it was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Redis was away, or has lost something: what was announced may be gone. Whoever looks first looks for all.
    pub(crate) disturbed: bool,
    /// Announcements of this process were given up: it has to look itself.
    pub(crate) given_up: bool,
    /// When something falls due that this process dispatched.
    pub(crate) due_at: Option<Instant>,
}

impl Signals {
    pub(crate) fn something_may_be_lost(&self) {
        self.tell(|told| !std::mem::replace(&mut told.disturbed, true));
    }

    pub(crate) fn announcements_were_given_up(&self) {
        self.tell(|told| !std::mem::replace(&mut told.given_up, true));
    }

    pub(crate) fn something_falls_due_in(&self, delay: Duration) {
        // A time beyond what can be counted is found by the sweeps until then.
        let Some(at) = Instant::now().checked_add(delay) else { return };
        self.tell(|told| {
            let sooner = told.due_at.is_none_or(|due| at < due);
            if sooner {
                told.due_at = Some(at);
            }
            sooner
        });
    }

    /// What was told since the last time.
    pub(crate) fn take(&self) -> Told {
        std::mem::take(&mut *self.lock())
    }

    /// Completes when something new is told.
    pub(crate) async fn told(&self) {
        self.wake.notified().await;
    }

    fn tell(&self, change: impl FnOnce(&mut Told) -> bool) {
        let is_news = change(&mut self.lock());
        if is_news {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
