//! The disturbances of an episode and their times: printed if the episode fails.

use std::fmt::Arguments;
use std::sync::{Arc, Mutex, PoisonError};

use squidmesh_tests::ledger::now;

/// Shared notes, each with its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(i64, String)>>>);

impl Log {
    pub(crate) fn note(&self, what: Arguments<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((now(), what.to_string()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|(at, what)| format!("{at} {what}")).collect()
    }
}
