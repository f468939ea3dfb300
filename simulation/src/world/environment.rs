//! What all processes of a simulation share: the scheduler, the database, the queue, and the records about them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use squidmesh_checker::{Answer, Call, Effect, EffectKind, Violation, rules};
use squidmesh_core::dispatch::Lease;
use squidmesh_core::event::Event;
use squidmesh_core::port::StoreSession;
use squidmesh_core::run::StepStatus;
use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{StepContext, ms, secs};

use super::clock::SimClock;
use super::executing::{Executing, Held};
use super::observer::Observer;
use super::queue::Queue;
use super::scheduler::Scheduler;
use crate::mutation::Mutation;

/// How often faults happen in a seed. Seeds differ, because frequent faults hide those that only show without others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// One in this number of calls of the store fails; 0 for none.
    pub(crate) faults: u64,
    /// One in this number of calls of the store takes time.
    pub(crate) delays: u64,
    /// One in this number of announcements is lost, and as many are doubled.
    pub(crate) losses: u64,
    /// One in this number of handlers does not do what it should.
    pub(crate) failures: u64,
    /// One in this number of jobs is refused by the executor; 0 for none. An occurrence whose job is refused is
    /// skipped permanently.
    pub(crate) refusals: u64,
    /// The duration of leases.
    pub(crate) lease: Duration,
    /// The maximum time that workers wait before they poll for work.
    pub(crate) poll: Duration,
    /// The time after which due work of an unknown version counts as stranded.
    pub(crate) stranded: Duration,
    /// Whether processes relay due work into the queue, as those do whose executor has no workers over the store.
    pub(crate) relays: bool,
    /// Whether processes offer their idle workers.
    pub(crate) offers: bool,
    /// Whether the store notifies processes of other processes' commits.
    pub(crate) notifies: bool,
    /// The maximum error of clocks, in milliseconds.
    pub(crate) skew: u64,
}

impl Conditions {
    pub(crate) fn draw(scheduler: &Scheduler, cron: bool) -> Self {
        let of = |list: &[u64]| scheduler.pick(list).copied().unwrap_or_default();
        let lease = secs(of(if cron { &[30, 60] } else { &[30, 300, 3_600] }));
        Conditions {
            faults: of(&[0, 12, 40, 150]),
            delays: of(&[3, 8, 30]),
            losses: of(&[2, 5, 1_000]),
            failures: of(&[3, 6, 20]),
            refusals: if cron { 0 } else { of(&[0, 100, 400]) },
            lease,
            poll: lease * 2,
            stranded: lease * 3,
            relays: scheduler.one_in(2),
            offers: scheduler.one_in(2),
            notifies: scheduler.one_in(2),
            skew: of(&[0, 500, 90_000, 50_000_000]),
        }
    }
}

/// The shared state; see the module's documentation.
pub(crate) struct Environment {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) store: MemoryStore,
    pub(crate) queue: Queue,
    pub(crate) conditions: Conditions,
    pub(crate) mutation: Option<Mutation>,
    chaos: AtomicBool,
    effects: Mutex<Vec<Effect>>,
    succeeded: Mutex<BTreeSet<usize>>,
    calls: Mutex<Vec<Call>>,
    events: Mutex<Vec<Event>>,
    observer: Mutex<Observer>,
    pub(crate) executing: Executing,
    pub(crate) commits: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Environment {
    pub(crate) fn new(scheduler: Arc<Scheduler>, conditions: Conditions, mutation: Option<Mutation>) -> Arc<Self> {
        let clock = SimClock::new(Arc::clone(&scheduler), 0);
        Arc::new(Environment {
            store: MemoryStore::new(clock),
            queue: Queue::default(),
            conditions,
            mutation,
            chaos: AtomicBool::new(true),
            effects: Mutex::default(),
            succeeded: Mutex::default(),
            calls: Mutex::default(),
            events: Mutex::default(),
            observer: Mutex::default(),
            executing: Executing::default(),
            commits: AtomicU64::new(0),
            scheduler,
        })
    }

    /// Returns whether faults happen at present.
    pub(crate) fn chaos(&self) -> bool {
        self.chaos.load(Ordering::SeqCst)
    }

    pub(crate) fn calm_down(&self) {
        self.chaos.store(false, Ordering::SeqCst);
        self.scheduler.note(format_args!("from here on nothing goes wrong"));
    }

    /// Returns true once in `one_in` calls on average, while faults happen; never if that is 0.
    pub(crate) fn goes_wrong(&self, one_in: u64) -> bool {
        one_in > 0 && self.chaos() && self.scheduler.one_in(one_in)
    }

    /// Delays a call: mostly not at all, sometimes enough for others to come first, now and then too long.
    pub(crate) async fn stumble(&self) {
        if !self.goes_wrong(self.conditions.delays) {
            return;
        }
        match self.scheduler.below(12) {
            0..=5 => self.scheduler.give_way().await,
            6..=8 => self.scheduler.sleep(ms(1 + self.scheduler.below(200))).await,
            9 | 10 => self.scheduler.sleep(secs(1 + self.scheduler.below(20))).await,
            _ => self.scheduler.sleep(self.conditions.lease + secs(self.scheduler.below(60))).await,
        }
    }

    /// Records an effect of a handler, and returns its number.
    pub(crate) fn note_effect(&self, effect: Effect) -> usize {
        self.scheduler.note(format_args!(
            "{:?} {} attempt {} of {} is carried out by {}",
            effect.kind,
            effect.step,
            effect.attempt,
            effect.run_id,
            self.scheduler.current_process()
        ));
        let mut effects = lock(&self.effects);
        effects.push(effect);
        effects.len() - 1
    }

    /// Records that a handler reported success.
    pub(crate) fn note_success(&self, effect: usize) {
        lock(&self.succeeded).insert(effect);
    }

    pub(crate) fn succeeded(&self) -> BTreeSet<usize> {
        lock(&self.succeeded).clone()
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        lock(&self.effects).clone()
    }

    /// Records a client's call, and returns the index at which to record its answer.
    pub(crate) fn note_call(&self, call: Call) -> usize {
        self.scheduler.note(format_args!("an operator or host asks: {:?}", call.act));
        let mut calls = lock(&self.calls);
        calls.push(call);
        calls.len() - 1
    }

    pub(crate) fn answer(&self, call: usize, answer: Answer) {
        self.scheduler.note(format_args!("the answer: {answer:?}"));
        lock(&self.calls)[call].answer = answer;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub(crate) fn note_event(&self, event: Event) {
        lock(&self.events).push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    /// Marks work as begun by the process whose task is polled, which must not execute it already.
    pub(crate) fn begin_work(&self, context: &StepContext, kind: EffectKind) -> Option<Held> {
        let begun = self.executing.begin(self.scheduler.current_process(), context, kind);
        begun.map_err(|violation| self.observer().violations.push(violation)).ok()
    }

    /// Checks that no attempt is open under a claim whose delivery has ended. Siblings may be claimed together, so this
    /// is known only of runs that execute one step at a time.
    pub(crate) fn nothing_is_left_open(&self, lease: &Lease, outcome: &str) {
        let run = lease.key.run_id;
        let load = self.store.load(run).now_or_never().expect("the store in memory answers at once");
        let Ok(Some(state)) = load else { return };
        let open = state.in_status(StepStatus::Running).find(|step| step.lease == Some(lease.token));
        let Some(open) = open.filter(|open| state.run.current_step.as_ref() == Some(&open.step)) else { return };
        // A worker that has claimed the intent meanwhile will close the attempt.
        let history = self.store.history(run).now_or_never().expect("the store in memory answers at once");
        if history.is_ok_and(|found| found.intents.iter().any(|intent| intent.lease == Some(lease.token))) {
            let what = format!(
                "attempt {} of {} is open, and its worker has left it: the delivery of {} ended as {outcome}",
                open.attempt, open.step, lease.key
            );
            self.observer().violations.push(Violation { rule: rules::LEFT, run: Some(run), what });
        }
    }

    pub(crate) fn observer(&self) -> MutexGuard<'_, Observer> {
        lock(&self.observer)
    }
}
