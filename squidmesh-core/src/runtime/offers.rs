//! Offers of idle workers: a change gives the steps that it dispatches to them, and begins these in its own commit.
//!
//! An executor offers its idle workers while it knows of no work that waits for them. A start reserves one for its first
//! step, and the record of an outcome reserves one for each successor but the one that its own worker continues with.
//! Each step begins under a lease of its worker, which receives it before the commit and waits for that.
//!
//! Knows who waits for what. Never commits, and never executes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use event_listener::{Event, listener};

use super::begun_step::ReceivedStep;
use super::urgency::Urgency;
use crate::dispatch::Intent;
use crate::engine::DueStep;
use crate::lock::lock;
use crate::name::QueueName;

/// The offers of this process's executor.
#[derive(Default)]
pub(crate) struct Offers(Mutex<Vec<Weak<Offer>>>);

/// The idle workers that serve some queues.
pub(crate) struct Offer {
    queues: Arc<[QueueName]>,
    urgency: Arc<Urgency>,
    /// Identifies the runners that drain together with these workers.
    family: u64,
    state: Mutex<State>,
    /// Notified when a step is handed over, a reserved worker is free again, or the offer is closed.
    changed: Event,
}

#[derive(Default)]
struct State {
    /// The workers that are offered, those that were reserved included.
    workers: usize,
    /// The reserved workers whose step was not received yet.
    reserved: usize,
    steps: VecDeque<ReceivedStep>,
    closed: bool,
    /// Whether nobody receives steps any more.
    abandoned: bool,
}

impl Offers {
    /// Adds an offer of workers that serve these queues; at first of none.
    pub(crate) fn add(&self, queues: Arc<[QueueName]>, urgency: Arc<Urgency>, family: u64) -> Arc<Offer> {
        let (state, changed) = (Mutex::default(), Event::new());
        let offer = Arc::new(Offer { queues, urgency, family, state, changed });
        let mut offers = lock(&self.0);
        offers.retain(|offer| offer.strong_count() > 0);
        offers.push(Arc::downgrade(&offer));
        offer
    }

    /// Returns whether no worker is idle.
    pub(super) fn is_empty(&self) -> bool {
        let is_idle = |offer: Arc<Offer>| lock(&offer.state).is_idle();
        !lock(&self.0).iter().filter_map(Weak::upgrade).any(is_idle)
    }

    /// Reserves an idle worker for a step.
    pub(super) fn reserve(&self, due: &DueStep) -> Option<Reservation> {
        let serves = |offer: &Arc<Offer>| {
            offer.queues.contains(&due.queue)
                && offer.urgency.lowest().is_some_and(|lowest| due.priority <= lowest)
                && offer.reserve()
        };
        lock(&self.0).iter().filter_map(Weak::upgrade).find(serves).map(|offer| Reservation { offer: Some(offer) })
    }

    /// Withdraws the workers of the queues in which these committed intents wait: work that is due comes before new
    /// runs.
    pub(super) fn committed(&self, intents: &[Intent]) {
        let is_due = |intent: &&Intent| intent.lease.is_none() && intent.delay.is_zero();
        let mut due = intents.iter().filter(is_due).map(|intent| &intent.queue).peekable();
        if due.peek().is_none() {
            return;
        }
        let due: Vec<&QueueName> = due.collect();
        for offer in lock(&self.0).iter().filter_map(Weak::upgrade) {
            if due.iter().any(|queue| offer.queues.contains(queue)) {
                offer.withdraw();
            }
        }
    }
}

impl Offer {
    /// Offers this many workers, in place of what was offered before.
    pub(crate) fn set(&self, workers: usize) {
        let mut state = lock(&self.state);
        state.workers = if state.closed { 0 } else { workers };
    }

    /// Withdraws the workers, and returns the number of those that are reserved already.
    pub(crate) fn withdraw(&self) -> usize {
        let mut state = lock(&self.state);
        state.workers = 0;
        state.reserved
    }

    /// Withdraws the workers permanently.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.workers = 0;
        state.closed = true;
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Ends the offer: steps are left until their leases expire.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut state = lock(&self.state);
        state.abandoned = true;
        let left = std::mem::take(&mut state.steps);
        drop(state);
        drop(left);
    }

    /// Waits for a step that is handed over. Returns `None` once the offer is closed and no worker is reserved.
    pub(crate) async fn receive(&self) -> Option<ReceivedStep> {
        loop {
            listener!(self.changed => changed);
            if let Some(received) = self.take() {
                return received;
            }
            changed.await;
        }
    }

    /// Returns a step that was handed over already.
    pub(crate) fn try_receive(&self) -> Option<ReceivedStep> {
        self.take().flatten()
    }

    /// Returns the next step that was handed over, or `None` if the offer has ended.
    fn take(&self) -> Option<Option<ReceivedStep>> {
        let mut state = lock(&self.state);
        match state.steps.pop_front() {
            Some(step) => {
                state.reserved = state.reserved.saturating_sub(1);
                state.workers = state.workers.saturating_sub(1);
                Some(Some(step))
            }
            None => (state.closed && state.reserved == 0).then_some(None),
        }
    }

    fn reserve(&self) -> bool {
        let mut state = lock(&self.state);
        let is_idle = state.is_idle();
        if is_idle {
            state.reserved += 1;
        }
        is_idle
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.reserved < self.workers
    }
}

/// A reserved worker. It is free again when this is dropped.
pub(super) struct Reservation {
    /// Until a step is handed over.
    offer: Option<Arc<Offer>>,
}

impl Reservation {
    /// Returns which runners drain together with the worker.
    pub(super) fn family(&self) -> u64 {
        self.offer.as_ref().map_or(0, |offer| offer.family)
    }

    /// Hands a step over to the worker, which stays reserved until it receives the step.
    pub(super) fn hand_over(mut self, step: ReceivedStep) {
        let Some(offer) = self.offer.take() else { return };
        let mut state = lock(&offer.state);
        let left = if state.abandoned {
            Some(step)
        } else {
            state.steps.push_back(step);
            None
        };
        drop(state);
        drop(left);
        offer.changed.notify(usize::MAX);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            let mut state = lock(&offer.state);
            state.reserved = state.reserved.saturating_sub(1);
            drop(state);
            offer.changed.notify(usize::MAX);
        }
    }
}
