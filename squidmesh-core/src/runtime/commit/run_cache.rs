//! The cached runs: those that this process has work of, each with its snapshot, so that it is not loaded again.
//!
//! This serves speed alone. The revision that every commit names keeps processes from overwriting each other. A
//! cached snapshot may be stale, or belong to a commit that will fail: decisions based on it count once they are
//! committed.
//!
//! Knows which runs are in use. Never knows what is decided about them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use super::write_group::SharedRun;
use crate::id::RunId;
use crate::lock::lock;

/// The cached runs of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct RunCache {
    runs: Arc<Mutex<HashMap<RunId, Entry>>>,
}

/// The entry of a run, and the number of its users.
#[derive(Default)]
struct Entry {
    run: Arc<SharedRun>,
    users: usize,
}

/// A run that stays cached for as long as this value exists.
pub(crate) struct CachedRun {
    cache: RunCache,
    id: RunId,
    run: Arc<SharedRun>,
}

impl RunCache {
    /// Keeps a run cached.
    pub(crate) fn run(&self, id: RunId) -> CachedRun {
        self.hold(id, lock(&self.runs).entry(id).or_default())
    }

    /// Returns the runs that need not be loaded, kept cached.
    pub(crate) fn cached(&self) -> Vec<CachedRun> {
        let mut runs = lock(&self.runs);
        let cached = runs.iter_mut().filter(|(_, entry)| entry.run.is_cached());
        cached.map(|(id, entry)| self.hold(*id, entry)).collect()
    }

    /// Returns the number of cached runs.
    pub(crate) fn len(&self) -> usize {
        lock(&self.runs).len()
    }

    fn hold(&self, id: RunId, entry: &mut Entry) -> CachedRun {
        entry.users += 1;
        CachedRun { cache: self.clone(), id, run: entry.run.clone() }
    }
}

impl CachedRun {
    /// Returns the run's id.
    pub(crate) fn id(&self) -> RunId {
        self.id
    }
}

impl Deref for CachedRun {
    type Target = Arc<SharedRun>;

    fn deref(&self) -> &Arc<SharedRun> {
        &self.run
    }
}

impl Drop for CachedRun {
    fn drop(&mut self) {
        let mut runs = lock(&self.cache.runs);
        let Some(entry) = runs.get_mut(&self.id) else { return };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            runs.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use futures_util::FutureExt;

    use super::*;
    use crate::definition::secs;
    use crate::run::{Run, RunSnapshot};
    use crate::runtime::commit::turn::TurnTimeout;
    use crate::testing::{ManualClock, sample};

    fn run() -> RunId {
        sample::run_id(1)
    }

    fn state(revision: u64) -> Arc<RunSnapshot> {
        let run = Run { revision, ..sample::run(1) };
        Arc::new(RunSnapshot::new(run, [sample::step("first")]))
    }

    fn revision(cached: &CachedRun) -> Option<u64> {
        let clock = ManualClock::default();
        cached.snapshot(TurnTimeout { clock: &clock, after: secs(1) }).now_or_never()?.map(|state| state.run.revision)
    }

    #[test]
    fn a_run_is_cached_while_it_is_in_use_and_no_longer() {
        let cache = RunCache::default();
        let (one, other) = (cache.run(run()), cache.run(run()));
        one.insert_if_newer(state(3));
        drop(one);
        assert_eq!(revision(&other), Some(3));
        assert_eq!(cache.cached().iter().map(CachedRun::id).collect::<Vec<_>>(), [run()]);
        drop(other);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn users_that_let_go_of_a_run_at_once_leave_nothing() {
        let cache = RunCache::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|number| drop(cache.run(sample::run_id(number / 100)))));
            }
        });
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn of_two_states_the_newer_one_is_kept() {
        let cache = RunCache::default();
        let cached = cache.run(run());
        for (offered, cached_then) in [(3, 3), (2, 3), (4, 4)] {
            cached.insert_if_newer(state(offered));
            assert_eq!(revision(&cached), Some(cached_then));
        }
    }
}
