//! What the handlers and the event sink of a workload see: how long hops take, and when all runs are done.
//!
//! A hop is measured by the handlers themselves, from the end of one to the beginning of the next in the same run:
//! the outcome was recorded durably in between, and the next step begun.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::EventSink;
use squidmesh_core::{RunId, RunStatus};
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::figure::percentile;

/// Enough locks that workers rarely contend for one.
const SHARDS: usize = 64;

/// Shared by the handlers and the event sink of one round.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Inner>);

struct Inner {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    handled: AtomicUsize,
    ended: AtomicUsize,
    astray: AtomicUsize,
    wanted: AtomicUsize,
    changed: Notify,
    /// When runs were due whose start was not recorded.
    base: Instant,
}

#[derive(Default)]
struct Shard {
    /// When the last handler of a run ended; before the first, when the run was started.
    last: HashMap<RunId, Last>,
    hops: Vec<f64>,
    pickups: Vec<f64>,
}

enum Last {
    Started(Instant),
    Handled(Instant),
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Recorder::measuring_from(Instant::now())
    }

    /// Creates a recorder that measures pick-ups from this time, for runs whose start is not recorded.
    pub(crate) fn measuring_from(base: Instant) -> Self {
        Recorder(Arc::new(Inner {
            base,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            handled: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            astray: AtomicUsize::new(0),
            wanted: AtomicUsize::new(usize::MAX),
            changed: Notify::new(),
        }))
    }

    /// Records that a handler begins: the hop that led to it is over.
    pub(crate) fn enter(&self, run: RunId) {
        let now = Instant::now();
        self.0.handled.fetch_add(1, Ordering::Relaxed);
        self.with_shard(run, |shard| match shard.last.get(&run) {
            Some(Last::Handled(last)) => shard.hops.push((now - *last).as_secs_f64()),
            Some(Last::Started(start)) => shard.pickups.push((now - *start).as_secs_f64()),
            None => shard.pickups.push(now.saturating_duration_since(self.0.base).as_secs_f64()),
        });
    }

    /// Records that a handler ends.
    pub(crate) fn leave(&self, run: RunId) {
        self.with_shard(run, |shard| shard.last.insert(run, Last::Handled(Instant::now())));
    }

    /// Records that a run was started at this time, unless its first handler was quicker than this call.
    pub(crate) fn started(&self, run: RunId, at: Instant) {
        self.with_shard(run, |shard| {
            shard.last.entry(run).or_insert(Last::Started(at));
        });
    }

    fn with_shard<T>(&self, run: RunId, act: impl FnOnce(&mut Shard) -> T) {
        let index = self.0.hasher.hash_one(run) as usize % SHARDS;
        if let Some(shard) = self.0.shards.get(index) {
            act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns the seconds since the time from which pick-ups are measured.
    pub(crate) fn since_base(&self) -> f64 {
        self.0.base.elapsed().as_secs_f64()
    }

    /// Returns the number of handlers called.
    pub(crate) fn handled(&self) -> usize {
        self.0.handled.load(Ordering::SeqCst)
    }

    /// Returns the number of completed runs.
    pub(crate) fn ended(&self) -> usize {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// Waits until `runs` runs have completed.
    ///
    /// # Errors
    /// Returns an error if a run ended otherwise, or it takes too long.
    pub(crate) async fn completed(&self, runs: usize, within: Duration) -> Result<(), Failure> {
        self.0.wanted.store(runs, Ordering::SeqCst);
        let all = async {
            while self.ended() < runs && self.0.astray.load(Ordering::SeqCst) == 0 {
                let _ = tokio::time::timeout(Duration::from_millis(200), self.0.changed.notified()).await;
            }
        };
        let in_time = tokio::time::timeout(within, all).await.is_ok();
        match self.0.astray.load(Ordering::SeqCst) {
            0 if in_time => Ok(()),
            0 => Err(format!("{} of {runs} runs completed within {within:?}", self.ended()).into()),
            astray => Err(format!("{astray} runs failed or were cancelled").into()),
        }
    }

    /// Returns the median and the 99th percentile of the hops, in milliseconds.
    pub(crate) fn hops(&self) -> (f64, f64) {
        self.percentiles(|shard| &shard.hops)
    }

    /// Returns the same of the time from the call that started a run to its first handler.
    pub(crate) fn pickups(&self) -> (f64, f64) {
        self.percentiles(|shard| &shard.pickups)
    }

    fn percentiles(&self, of: impl Fn(&Shard) -> &Vec<f64>) -> (f64, f64) {
        let mut all: Vec<f64> = Vec::new();
        for shard in &self.0.shards {
            all.extend(of(&shard.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        (percentile(&mut all, 0.5) * 1e3, percentile(&mut all, 0.99) * 1e3)
    }
}

impl EventSink for Recorder {
    fn emit(&self, event: &Event) {
        match event.kind {
            EventKind::RunTransition { to: RunStatus::Completed, .. } => {
                let ended = self.0.ended.fetch_add(1, Ordering::SeqCst) + 1;
                if ended >= self.0.wanted.load(Ordering::SeqCst) {
                    self.0.changed.notify_one();
                }
            }
            EventKind::RunTransition { to: RunStatus::Failed | RunStatus::Cancelled, .. } => {
                self.0.astray.fetch_add(1, Ordering::SeqCst);
                self.0.changed.notify_one();
            }
            _ => {}
        }
    }
}
