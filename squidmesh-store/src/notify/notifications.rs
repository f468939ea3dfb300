//! The notifications that a process knows, and whether one is still to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// The state that the handles of one store share with the tasks that send and receive.
pub(super) struct Notifications {
    /// The sender's id: new in each process.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only Postgres transmits it"))]
    pub(super) sender: Uuid,
    /// Counts the notifications.
    pub(super) count: watch::Sender<u64>,
    /// Whether notifications of other processes are currently received.
    pub(super) listening: AtomicBool,
    /// Signals that a notification is to be sent to other processes.
    pub(super) outgoing: Notify,
}

impl Notifications {
    pub(super) fn new() -> Self {
        Notifications {
            sender: Uuid::new_v4(),
            count: watch::Sender::new(0),
            listening: AtomicBool::new(false),
            outgoing: Notify::new(),
        }
    }

    /// Counts a notification, and returns the new count.
    pub(super) fn add(&self) -> u64 {
        let mut now = 0;
        self.count.send_modify(|count| {
            *count = count.wrapping_add(1);
            now = *count;
        });
        now
    }

    /// Records that notifications of other processes are received. Earlier ones were missed, so this counts as one.
    pub(super) fn listening_started(&self) {
        self.listening.store(true, Ordering::SeqCst);
        self.add();
    }

    /// Records that notifications of other processes are not received.
    pub(super) fn listening_ended(&self) {
        self.listening.store(false, Ordering::SeqCst);
    }
}

/// Records the end of listening, however the listener ends.
pub(super) struct EndListening(pub(super) Arc<Notifications>);

impl Drop for EndListening {
    fn drop(&mut self) {
        self.0.listening_ended();
    }
}
