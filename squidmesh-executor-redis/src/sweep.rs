//! Looks into the store for what is due and announces it: whatever was never announced, was lost, or falls due later than its
//! commit.
//!
//! A *sweep* goes through all that is due, page by page: at the start, at an interval, and after Redis may have lost something. A
//! *look* asks only for what fell due since the last one: whenever something is known to fall due, and about once a second while other
//! processes tell of work or nobody could be heard, otherwise every five. Several
//! processes share both out by a key in Redis that says that somebody has just done it; the key is a hint, and gone with the rest
//! when Redis loses everything.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::{Cancellation, Due, DueIntent, Priority, QueueName, Route, Runner, StoreError, Timestamp};
use tokio::time::{Instant, sleep_until};

use crate::announce::{Announcement, Board};
use crate::keys::Keys;
use crate::link::{Link, is_the_commands_own};
use crate::signals::Signals;
use crate::trouble::Trouble;

/// The intents of one page.
const PAGE: usize = 500;
/// How long after one look the next comes at least.
const LOOK: Duration = Duration::from_secs(1);
/// How long after one look the next comes at most, while other processes would be heard and nobody tells of work.
const QUIET: Duration = Duration::from_secs(5);
/// The least time between two looks, whatever falls due.
const BREATH: Duration = Duration::from_millis(5);
/// The pause after something failed.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a sweep is left to the one that makes it without another word: it may die in the middle.
const HOLD: Duration = Duration::from_secs(1);
/// How much later than its due time an intent may become visible and still be found by a look.
const LATE: Duration = Duration::from_secs(2);

pub(crate) struct Sweeper {
    runner: Runner,
    board: Board,
    link: Arc<Link>,
    signals: Arc<Signals>,
    interval: Duration,
    sweep_key: String,
    look_key: String,
    /// Up to when everything due has been looked at, by the store's clock.
    looked: Option<Timestamp>,
    /// Sweeps and looks that Redis refuses.
    refused: Trouble,
}

/// When the next of each comes.
struct Plan {
    sweep_at: Instant,
    look_at: Instant,
    /// When it was looked last.
    looked_at: Instant,
    /// When something is known to fall due: that look is not shared out.
    due_at: Option<Instant>,
    /// Whether the next sweep is made whoever has just made one.
    alone: bool,
}

/// What kept a sweep or a look from its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

impl Sweeper {
    pub(crate) fn new(
        runner: Runner,
        board: Board,
        link: Arc<Link>,
        keys: &Keys,
        signals: Arc<Signals>,
        interval: Duration,
    ) -> Self {
        // The same in every process that serves the same queues and versions.
        let mut hasher = DefaultHasher::new();
        runner.routes().hash(&mut hasher);
        let routes = hasher.finish();
        let (sweep_key, look_key) = (keys.hint("sweep", routes), keys.hint("look", routes));
        Sweeper {
            runner,
            board,
            link,
            signals,
            interval,
            sweep_key,
            look_key,
            looked: None,
            refused: Trouble::with("announcing what is due"),
        }
    }

    /// Sweeps and looks until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: Cancellation) {
        let now = Instant::now();
        let mut plan = Plan { sweep_at: now, look_at: now + LOOK, looked_at: now, due_at: None, alone: false };
        while !shutdown.is_cancelled() {
            let told = self.signals.take();
            let now = Instant::now();
            if told.disturbed || told.given_up {
                plan.sweep_at = now;
                plan.alone |= told.given_up;
            }
            plan.due_at = [plan.due_at, told.due_at].into_iter().flatten().min();
            match self.turn(&mut plan, now).await {
                Ok(()) => self.refused.worked(),
                Err(error) => {
                    match &error {
                        Broken::Redis(error) if is_the_commands_own(error) => self.refused.failed(error),
                        error => {
                            tracing::debug!(target: "squidmesh", %error, "due work could not be announced; tried again shortly");
                        }
                    }
                    // The link told of its own failure: what is heard of it meanwhile is not news.
                    self.signals.take();
                    plan.sweep_at = Instant::now() + PAUSE;
                    plan.look_at = plan.sweep_at;
                }
            }
            let next = [Some(plan.sweep_at), Some(plan.look_at), plan.due_at].into_iter().flatten().min();
            let next = next.unwrap_or(plan.look_at).max(now + BREATH);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.signals.told() => {}
                () = self.runner.work_committed() => plan.look_at = plan.look_at.min(plan.looked_at + self.look_every()),
                _ = shutdown.cancelled() => {}
            }
        }
    }

    /// Does what is planned for now, and plans on.
    async fn turn(&mut self, plan: &mut Plan, now: Instant) -> Result<(), Broken> {
        if plan.sweep_at <= now {
            match self.left_to_others(&self.sweep_key, self.interval.min(HOLD), plan.alone).await? {
                Some(wait) => plan.sweep_at = now + wait,
                None => {
                    let (complete, next_in) = self.announce(None).await?;
                    // With a stream full, more is announced as it empties.
                    let next = if complete { self.interval } else { self.interval.min(LOOK) };
                    self.leave_to_others(next.saturating_sub(now.elapsed())).await?;
                    plan.sweep_at = now + next;
                    plan.looked(now, self.next_look(), next_in);
                }
            }
            plan.alone = false;
        }
        let known = plan.due_at.is_some_and(|at| at <= now);
        if plan.look_at <= now || known {
            match self.left_to_others(&self.look_key, self.look_every(), known).await? {
                Some(wait) => plan.look_at = now + wait,
                None => {
                    let (_, next_in) = self.announce(self.looked.map(before)).await?;
                    plan.looked(now, self.next_look(), next_in);
                }
            }
        }
        Ok(())
    }

    /// Announces what fell due since a time, or all that is due. Tells whether there was room for all, and how long until the next
    /// falls due.
    async fn announce(&mut self, since: Option<Timestamp>) -> Result<(bool, Option<Duration>), Broken> {
        let mut runner = self.runner.clone();
        let mut after: Option<DueIntent> = None;
        let mut room = Room::default();
        let (mut begun, mut falls_due) = (None, None);
        loop {
            let Due { intents, more, next_in, now, .. } = runner.due(since, after.take(), PAGE).await?;
            begun.get_or_insert(now);
            falls_due = [falls_due, next_in].into_iter().flatten().min();
            let mut queues: BTreeMap<&QueueName, Vec<Announcement>> = BTreeMap::new();
            for intent in &intents {
                queues.entry(&intent.queue).or_default().push(announcement(intent));
            }
            for (queue, announcements) in queues {
                let announced = self.board.announce(&announcements).await?;
                if announced.added > 0 {
                    tracing::debug!(target: "squidmesh", %queue, added = announced.added, "due work was announced from the store");
                }
                room.found(queue, announcements.len(), announced.refused);
            }
            if since.is_none() && more {
                self.leave_to_others(self.interval.min(HOLD)).await?;
            }
            // The others go on without the queues that are full: they may have lost something.
            if runner.queues().iter().any(|queue| room.is_none(queue)) {
                runner = runner.serving(runner.queues().iter().filter(|queue| !room.is_none(queue)).cloned());
            }
            after = intents.into_iter().last();
            if !more || runner.queues().is_empty() || after.is_none() {
                self.looked = begun;
                return Ok((!room.was_missed, falls_due));
            }
        }
    }

    /// Whether somebody else has just done it: then how long until it is to be done again.
    async fn left_to_others(&self, key: &str, every: Duration, alone: bool) -> RedisResult<Option<Duration>> {
        let millis = shortened(every);
        let mut set = redis::cmd("SET");
        set.arg(key).arg("1").arg("PX").arg(millis);
        if alone {
            self.link.send(&set).await?;
            return Ok(None);
        }
        if self.link.send(set.arg("NX")).await? == Value::Okay {
            return Ok(None);
        }
        match self.link.send(redis::cmd("PTTL").arg(key)).await? {
            Value::Int(left) if left > 0 => {
                Ok(Some(Duration::from_millis(left.unsigned_abs()).min(self.interval) + BREATH))
            }
            // Gone just now, or without an end, which no process of ours sets.
            Value::Int(-1) => self.link.send(redis::cmd("DEL").arg(key)).await.map(|_| Some(BREATH)),
            _ => Ok(Some(BREATH)),
        }
    }

    /// Says that nobody else has to sweep for so long, unless Redis has lost meanwhile that somebody does.
    async fn leave_to_others(&self, time: Duration) -> RedisResult<()> {
        let mut set = redis::cmd("SET");
        set.arg(&self.sweep_key).arg("1").arg("XX").arg("PX").arg(shortened(time));
        self.link.send(&set).await.map(drop)
    }

    fn look_every(&self) -> Duration {
        self.interval.min(LOOK)
    }

    /// How long until the next look if nobody tells of anything.
    fn next_look(&self) -> Duration {
        if self.runner.hears_of_work() { self.interval.min(QUIET) } else { self.look_every() }
    }
}

/// Where a sweep found room.
#[derive(Default)]
struct Room {
    /// Of each queue, how many found none one after the other.
    refused: HashMap<QueueName, usize>,
    was_missed: bool,
}

impl Room {
    fn found(&mut self, queue: &QueueName, announced: usize, refused: usize) {
        self.was_missed |= refused > 0;
        let before = self.refused.entry(queue.clone()).or_default();
        *before = if refused == announced { *before + refused } else { 0 };
    }

    /// Whether a queue has none, as far as one can see: it may have some for another class or version, but what there is to try
    /// has no end.
    fn is_none(&self, queue: &QueueName) -> bool {
        self.refused.get(queue).is_some_and(|refused| *refused >= PAGE)
    }
}

impl Plan {
    /// Plans on after a look or a sweep, which is one too.
    fn looked(&mut self, now: Instant, every: Duration, next_in: Option<Duration>) {
        (self.looked_at, self.look_at) = (now, now + every);
        self.due_at = next_in.and_then(|next| now.checked_add(next + Duration::from_millis(1)));
    }
}

/// An interval in milliseconds, and a little less, so that it is this process's turn again if no other comes between.
fn shortened(interval: Duration) -> u64 {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(2);
    millis - millis.div_ceil(20)
}

/// The way of a due intent. What a dead worker held has waited already: it goes with the highest class.
fn announcement(intent: &DueIntent) -> Announcement {
    let priority = if intent.run_out { Priority::High } else { intent.priority };
    let route = Route::new(intent.queue.clone(), priority, intent.fingerprint);
    Announcement { key: intent.key.clone(), route }
}

/// A commit shows what falls due a little later than its time says.
fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_sub(i64::try_from(LATE.as_millis()).unwrap_or(0)))
}
