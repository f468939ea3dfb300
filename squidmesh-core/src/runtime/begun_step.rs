//! A step that a change begins for an idle worker of this process, and what is known of the commit of the change.
//!
//! The worker receives the step before the change is committed, and waits until it knows what became of the commit. The
//! call that commits may be slow, be dropped, or not be polled: then the worker looks for the step in the store by
//! itself. So no step that was begun stays without a worker.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event_listener::{Event, listener};
use futures_util::future::{Either, select};

use super::commit::run_cache::CachedRun;
use super::leases::Held;
use crate::engine::StepTask;
use crate::port::{Clock, Store};
use crate::run::RunSnapshot;

/// How long a worker waits before it looks for its step in the store. The time doubles with each look.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// The longest time between two looks.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a worker waits for a change while the call that commits it exists.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// A step that a change begins for a worker, as the call that commits the change has it. If this is dropped, it is not
/// known whether the change was committed.
pub(crate) struct Handover(Arc<Commitment>);

/// A step that a change begins for a worker, as the worker has it.
pub(crate) struct ReceivedStep {
    /// Keeps the lease alive from before the commit: its answer may take long.
    pub(crate) held: Held,
    pub(crate) task: StepTask,
    commitment: Arc<Commitment>,
}

/// What is known of the commit of a change.
#[derive(Default)]
struct Commitment {
    known: OnceLock<Known>,
    changed: Event,
}

/// What became of the commit of a change.
enum Known {
    /// It was committed; with the state of the run after it, if the run is not cached yet.
    Committed(Option<Arc<RunSnapshot>>),
    NotCommitted,
    Unknown,
}

impl Handover {
    /// Creates both ends for a step.
    pub(crate) fn of(held: Held, task: StepTask) -> (Handover, ReceivedStep) {
        let commitment = Arc::<Commitment>::default();
        (Handover(Arc::clone(&commitment)), ReceivedStep { held, task, commitment })
    }

    /// States that the change is committed; with the state of the run after it, to be cached.
    pub(crate) fn committed(self, state: Option<Arc<RunSnapshot>>) {
        self.0.set(Known::Committed(state));
    }

    /// States that the change was not committed.
    pub(crate) fn cancel(self) {
        self.0.set(Known::NotCommitted);
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.0.set(Known::Unknown);
    }
}

impl Commitment {
    /// Sets what is known; the first statement stands.
    fn set(&self, known: Known) {
        if self.known.set(known).is_ok() {
            self.changed.notify(usize::MAX);
        }
    }

    /// Returns what is known, once anything is.
    async fn known(&self) -> &Known {
        loop {
            listener!(self.changed => changed);
            if let Some(known) = self.known.get() {
                return known;
            }
            changed.await;
        }
    }

    fn is_unknown(&self) -> bool {
        matches!(self.known.get(), Some(Known::Unknown))
    }

    /// Waits for a while, or until something is known.
    async fn wait(&self, clock: &dyn Clock, wait: Duration) -> Option<&Known> {
        match self.known.get() {
            Some(Known::Unknown) => clock.sleep(wait).await,
            Some(known) => return Some(known),
            None => {
                if let Either::Left((known, _)) = select(pin!(self.known()), clock.sleep(wait)).await {
                    return Some(known);
                }
            }
        }
        None
    }
}

impl ReceivedStep {
    /// Waits until the change is known to be committed or not, and returns whether it is. Caches the run. If the call that
    /// commits is dropped, waits for as long as a call may take.
    pub(crate) async fn is_committed(
        &self,
        store: &dyn Store,
        clock: &dyn Clock,
        call_timeout: Duration,
        cached: &CachedRun,
    ) -> bool {
        let (mut wait, mut waited) = (FIRST_LOOK, Duration::ZERO);
        loop {
            match self.commitment.wait(clock, wait).await {
                Some(Known::Committed(state)) => {
                    if let Some(state) = state {
                        cached.insert_if_newer(Arc::clone(state));
                    }
                    return true;
                }
                Some(Known::NotCommitted) => return false,
                Some(Known::Unknown) | None => {}
            }
            if let Ok(Some(found)) = store.load(cached.id()).await
                && self.task.is_open(&found)
            {
                cached.insert_if_newer(Arc::new(found));
                return true;
            }
            waited = waited.saturating_add(wait);
            wait = wait.saturating_mul(2).min(MAX_LOOK_INTERVAL);
            if waited > if self.commitment.is_unknown() { call_timeout } else { MAX_WAIT } {
                return false;
            }
        }
    }
}
