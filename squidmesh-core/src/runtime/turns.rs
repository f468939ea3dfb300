//! Turns: in one process, decisions about one run are taken one after the other.
//!
//! Siblings that end together would otherwise each load the run, decide, and all but one would conflict, again and again. Whoever
//! waits for a turn gets the state that the one before it committed, and need not load. This is for speed alone: what keeps
//! processes from overwriting each other is the revision that every commit names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::lock::{Mutex as Turnstile, OwnedMutexGuard};

use crate::{RunId, RunState};

type Slot = Arc<Turnstile<Option<RunState>>>;

/// The runs about which something is being decided.
#[derive(Default)]
pub(crate) struct Turns {
    slots: Mutex<HashMap<RunId, Slot>>,
}

/// The turn to decide about a run; over when it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    run_id: RunId,
    slot: Slot,
    left: Option<OwnedMutexGuard<Option<RunState>>>,
}

/// How many hold a slot when nobody waits: the map, the turn and its guard.
const ALONE: usize = 3;

impl Turns {
    /// Waits for the turn to decide about a run.
    pub(super) async fn wait(&self, run_id: RunId) -> Turn<'_> {
        let slot = self.slots().entry(run_id).or_default().clone();
        let mut turn = Turn { turns: self, run_id, slot: slot.clone(), left: None };
        turn.left = Some(slot.lock_owned().await);
        turn
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<RunId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The newest of what the turn before left and what the caller has.
    pub(super) fn newest(&mut self, given: Option<RunState>) -> Option<RunState> {
        let left = self.left.as_mut().and_then(|left| left.take());
        match (left, given) {
            (Some(left), Some(given)) if left.run.revision < given.run.revision => Some(given),
            (Some(left), _) => Some(left),
            (None, given) => given,
        }
    }

    /// Leaves what was committed to those who wait, if anybody does.
    pub(super) fn leave(&mut self, state: &RunState) {
        if Arc::strong_count(&self.slot) > ALONE
            && let Some(left) = &mut self.left
        {
            **left = Some(state.clone());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut slots = self.turns.slots();
        self.left = None;
        // The map and this turn: nobody can come to hold it without the map, which is locked.
        if Arc::strong_count(&self.slot) == 2 {
            slots.remove(&self.run_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_run_is_decided_about_by_one_at_a_time() {
        let (turns, run) = (Turns::default(), RunId::from_uuid(uuid::Uuid::from_u128(1)));
        let first = turns.wait(run).now_or_never().unwrap();
        let mut second = Box::pin(turns.wait(run));
        assert!((&mut second).now_or_never().is_none(), "the first has its turn");
        let other = RunId::from_uuid(uuid::Uuid::from_u128(2));
        assert!(turns.wait(other).now_or_never().is_some(), "another run is another matter");
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_of_runs_that_nobody_decides_about() {
        let (turns, run) = (Turns::default(), RunId::from_uuid(uuid::Uuid::from_u128(1)));
        let first = turns.wait(run).now_or_never().unwrap();
        let mut given_up = Box::pin(turns.wait(run));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        drop(first);
        drop(turns.wait(run).now_or_never().unwrap());
        assert!(turns.slots().is_empty());
    }
}
