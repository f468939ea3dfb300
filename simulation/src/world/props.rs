//! What all processes of a simulation share: the stage, the database, the queue, and the books that are kept about them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{Event, ms, secs};

use super::clock::SimClock;
use super::queue::Queue;
use super::stage::Stage;
use super::watch::Watch;
use crate::check::{Answer, Call, Effect};
use crate::mutation::Mutation;

/// How often things go wrong in a seed. Seeds differ, because a fault that is too common hides those that need calm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    /// One call of the store in so many fails; 0 for none.
    pub(crate) faults: u64,
    /// One call of the store in so many takes time.
    pub(crate) delays: u64,
    /// One announcement in so many is lost, and as many doubled.
    pub(crate) losses: u64,
    /// One handler in so many does not do what it should.
    pub(crate) failures: u64,
    /// One job in so many is refused by the executor; 0 for none. An occurrence whose job is refused is left out for good.
    pub(crate) refusals: u64,
    /// How long a lease lasts.
    pub(crate) lease: Duration,
    /// How long workers wait at most before they look for work.
    pub(crate) poll: Duration,
    /// When work of an unknown version counts as stranded.
    pub(crate) stranded: Duration,
    /// Whether processes relay what is due into the queue, as those do whose executor has no workers over the store.
    pub(crate) relays: bool,
    /// Whether the store tells of commits of other processes.
    pub(crate) tells: bool,
    /// How far clocks are wrong at most, in milliseconds.
    pub(crate) skew: u64,
}

impl Temper {
    pub(crate) fn draw(stage: &Stage, cron: bool) -> Self {
        let of = |list: &[u64]| stage.pick(list).copied().unwrap_or_default();
        let lease = secs(of(if cron { &[30, 60] } else { &[30, 300, 3_600] }));
        Temper {
            faults: of(&[0, 12, 40, 150]),
            delays: of(&[3, 8, 30]),
            losses: of(&[2, 5, 1_000]),
            failures: of(&[3, 6, 20]),
            refusals: if cron { 0 } else { of(&[0, 100, 400]) },
            lease,
            poll: lease * 2,
            stranded: lease * 3,
            relays: stage.one_in(2),
            tells: stage.one_in(2),
            skew: of(&[0, 500, 90_000, 50_000_000]),
        }
    }
}

/// See the module's documentation.
pub(crate) struct Props {
    pub(crate) stage: Arc<Stage>,
    pub(crate) store: MemoryStore,
    pub(crate) queue: Queue,
    pub(crate) temper: Temper,
    pub(crate) mutation: Option<Mutation>,
    chaos: AtomicBool,
    effects: Mutex<Vec<Effect>>,
    succeeded: Mutex<BTreeSet<usize>>,
    calls: Mutex<Vec<Call>>,
    events: Mutex<Vec<Event>>,
    watch: Mutex<Watch>,
    pub(crate) commits: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Props {
    pub(crate) fn new(stage: Arc<Stage>, temper: Temper, mutation: Option<Mutation>) -> Arc<Self> {
        let clock = SimClock::new(Arc::clone(&stage), 0);
        Arc::new(Props {
            store: MemoryStore::new(clock),
            queue: Queue::default(),
            temper,
            mutation,
            chaos: AtomicBool::new(true),
            effects: Mutex::default(),
            succeeded: Mutex::default(),
            calls: Mutex::default(),
            events: Mutex::default(),
            watch: Mutex::default(),
            commits: AtomicU64::new(0),
            stage,
        })
    }

    /// Whether things go wrong at present.
    pub(crate) fn chaos(&self) -> bool {
        self.chaos.load(Ordering::SeqCst)
    }

    pub(crate) fn calm_down(&self) {
        self.chaos.store(false, Ordering::SeqCst);
        self.stage.note(format_args!("from here on nothing goes wrong"));
    }

    /// True once in so many throws, while things go wrong; never if that is 0.
    pub(crate) fn goes_wrong(&self, one_in: u64) -> bool {
        one_in > 0 && self.chaos() && self.stage.one_in(one_in)
    }

    /// Time that a call takes: mostly none, sometimes enough for others to come first, now and then too much.
    pub(crate) async fn stumble(&self) {
        if !self.goes_wrong(self.temper.delays) {
            return;
        }
        match self.stage.below(12) {
            0..=5 => self.stage.give_way().await,
            6..=8 => self.stage.sleep(ms(1 + self.stage.below(200))).await,
            9 | 10 => self.stage.sleep(secs(1 + self.stage.below(20))).await,
            _ => self.stage.sleep(self.temper.lease + secs(self.stage.below(60))).await,
        }
    }

    /// Notes what a handler does, and gives its number.
    pub(crate) fn note_effect(&self, effect: Effect) -> usize {
        self.stage.note(format_args!(
            "{:?} {} attempt {} of {} is carried out by {}",
            effect.kind,
            effect.step,
            effect.attempt,
            effect.run_id,
            self.stage.on_stage()
        ));
        let mut effects = lock(&self.effects);
        effects.push(effect);
        effects.len() - 1
    }

    /// Notes that a handler says that it succeeded.
    pub(crate) fn note_success(&self, effect: usize) {
        lock(&self.succeeded).insert(effect);
    }

    pub(crate) fn succeeded(&self) -> BTreeSet<usize> {
        lock(&self.succeeded).clone()
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        lock(&self.effects).clone()
    }

    /// Notes that a client asks for something, and gives the place for the answer.
    pub(crate) fn note_call(&self, call: Call) -> usize {
        self.stage.note(format_args!("somebody asks: {:?}", call.act));
        let mut calls = lock(&self.calls);
        calls.push(call);
        calls.len() - 1
    }

    pub(crate) fn answer(&self, call: usize, answer: Answer) {
        self.stage.note(format_args!("the answer: {answer:?}"));
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

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        lock(&self.watch)
    }
}
