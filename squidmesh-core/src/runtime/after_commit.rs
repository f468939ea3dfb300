//! What a command inside the host's own transaction announces once the host has committed.

use std::sync::{Arc, Mutex};

use super::Runtime;
use super::commit::announcement::Announcement;
use crate::lock::lock;

/// The announcement to make once the host's transaction is committed.
#[must_use = "call `committed` after the transaction is committed"]
pub struct AfterCommit {
    runtime: Arc<Runtime>,
    pending: Mutex<Announcement>,
}

impl AfterCommit {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        AfterCommit { runtime, pending: Mutex::default() }
    }

    pub(super) fn add(&self, announcement: Announcement) {
        lock(&self.pending).extend(announcement);
    }

    /// Emits the events and wakes the workers; call it after the transaction was committed.
    pub fn committed(self) {
        self.runtime.announce(&lock(&self.pending));
    }

    /// Discards the announcement; call it after the transaction was rolled back.
    pub fn rolled_back(self) {}
}
