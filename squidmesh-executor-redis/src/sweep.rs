//! Searches the store for due work and announces it: work that was never announced, whose announcement was lost,
//! or that becomes due later than its commit.
//!
//! A *sweep* goes through all due work, page by page: at the start, at an interval, and after Redis may have lost
//! something. A *look* covers only work that became due since the last one: at each known due time, about once a
//! second while other processes notify of work or listening is not possible, and otherwise every five seconds.
//! Processes share both by a key in Redis that shows that one of them has just run it. The key is a hint, and is
//! lost with the rest when Redis loses its data.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::command::Route;
use squidmesh_core::definition::{Priority, QueueName};
use squidmesh_core::port::{DueIntent, DuePage};
use squidmesh_core::workflow::Cancellation;
use squidmesh_core::{Runner, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use crate::announce::{Announcement, StreamWriter, Unannounced};
use crate::connection::{Connection, is_command_error};
use crate::keys::Keys;
use crate::outage_log::OutageLog;
use crate::sweep_triggers::SweepTriggers;

/// The maximum number of intents in one page.
const PAGE_SIZE: usize = 500;
/// The minimum time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time between two looks while the store listens and no process notifies of work.
const QUIET_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The minimum time between two looks for known due times.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The pause after a failure, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// The longest interval that is supported.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long other processes leave a sweep to the process that runs it, unless it renews this: it may die in the middle.
const SWEEP_HOLD: Duration = Duration::from_secs(1);
/// How much later than its due time an intent may become visible and still be found by a look.
const COMMIT_DELAY: Duration = Duration::from_secs(2);

pub(crate) struct Sweeper {
    runner: Runner,
    writer: StreamWriter,
    connection: Arc<Connection>,
    triggers: Arc<SweepTriggers>,
    interval: Duration,
    sweep_key: String,
    look_key: String,
    /// The time up to which all due work has been examined, by the store's clock.
    looked: Option<Timestamp>,
    /// Sweeps and looks that Redis rejects.
    refused: OutageLog,
}

/// When the next sweep and the next look run.
struct Plan {
    sweep_at: Instant,
    look_at: Instant,
    /// When the last look ran.
    looked_at: Instant,
    /// The next known due time: the look at that time is not shared with other processes.
    due_at: Option<Instant>,
    /// Whether the next sweep runs even if another process has just run one.
    alone: bool,
}

impl Sweeper {
    pub(crate) fn new(
        runner: Runner,
        writer: StreamWriter,
        connection: Arc<Connection>,
        keys: &Keys,
        triggers: Arc<SweepTriggers>,
        interval: Duration,
    ) -> Self {
        // The same in every process that serves the same queues and versions.
        let mut hasher = DefaultHasher::new();
        runner.routes().hash(&mut hasher);
        let routes = hasher.finish();
        let (sweep_key, look_key) = (keys.hint("sweep", routes), keys.hint("look", routes));
        Sweeper {
            runner,
            writer,
            connection,
            triggers,
            interval: interval.min(MAX_INTERVAL),
            sweep_key,
            look_key,
            looked: None,
            refused: OutageLog::new("announcing due work"),
        }
    }

    /// Sweeps and looks until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: Cancellation) {
        let now = Instant::now();
        let mut plan = Plan { sweep_at: now, look_at: now + LOOK_INTERVAL, looked_at: now, due_at: None, alone: false };
        let mut pause = RETRY_DELAYS.0;
        while !shutdown.is_cancelled() {
            let triggered = self.triggers.take();
            let now = Instant::now();
            if triggered.may_be_lost || triggered.dropped {
                plan.sweep_at = now;
                plan.alone |= triggered.dropped;
            }
            plan.due_at = [plan.due_at, triggered.due_at].into_iter().flatten().min();
            match self.turn(&mut plan, now).await {
                Ok(()) => {
                    self.refused.succeeded();
                    pause = RETRY_DELAYS.0;
                }
                Err(error) => {
                    match &error {
                        Unannounced::Redis(error) if is_command_error(error) => self.refused.failed(error),
                        error => {
                            tracing::debug!(target: "squidmesh", %error, "cannot announce due work; retrying shortly");
                        }
                    }
                    // Triggers that arrive meanwhile need no earlier wake-up: the next attempt covers them.
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = shutdown.cancelled() => {}
                    }
                    pause = pause.saturating_mul(2).min(RETRY_DELAYS.1);
                    plan.alone |= self.triggers.take().dropped;
                    plan.sweep_at = Instant::now();
                    plan.look_at = plan.sweep_at;
                    continue;
                }
            }
            let next = [Some(plan.sweep_at), Some(plan.look_at), plan.due_at].into_iter().flatten().min();
            let next = next.unwrap_or(plan.look_at).max(now + MIN_LOOK_INTERVAL);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.triggers.triggered() => {}
                () = self.runner.work_notified() => plan.look_at = plan.look_at.min(plan.looked_at + self.look_every()),
                _ = shutdown.cancelled() => {}
            }
        }
    }

    /// Runs the planned sweep and look that are due, and plans the next ones.
    async fn turn(&mut self, plan: &mut Plan, now: Instant) -> Result<(), Unannounced> {
        if plan.sweep_at <= now {
            match self.left_to_others(&self.sweep_key, self.interval.min(SWEEP_HOLD), plan.alone).await? {
                Some(wait) => plan.sweep_at = now + wait,
                None => {
                    let (complete, next_in) = self.announce(None).await?;
                    // If a stream is full, more is announced as it drains.
                    let next = if complete { self.interval } else { self.interval.min(LOOK_INTERVAL) };
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

    /// Announces work that became due since a time, or all due work. Returns whether there was room for all, and
    /// how long until more becomes due.
    async fn announce(&mut self, since: Option<Timestamp>) -> Result<(bool, Option<Duration>), Unannounced> {
        let mut runner = self.runner.clone();
        let mut after: Option<DueIntent> = None;
        let mut room = Room::default();
        let (mut begun, mut next_due) = (None, None);
        loop {
            let DuePage { intents, more, next_in, now, .. } = runner.list_due(since, after.take(), PAGE_SIZE).await?;
            begun.get_or_insert(now);
            next_due = [next_due, next_in].into_iter().flatten().min();
            let mut queues: BTreeMap<&QueueName, Vec<Announcement>> = BTreeMap::new();
            for intent in &intents {
                queues.entry(&intent.queue).or_default().push(announcement(intent));
            }
            for (queue, announcements) in queues {
                let announced = self.writer.announce(&announcements).await?;
                if announced.added > 0 {
                    tracing::debug!(target: "squidmesh", %queue, added = announced.added, "due work was announced from the store");
                }
                room.found(queue, announcements.len(), announced.refused);
            }
            if since.is_none() && more {
                self.leave_to_others(self.interval.min(SWEEP_HOLD)).await?;
            }
            // Continues without the queues that are full: the other queues may have lost announcements.
            if runner.queues().iter().any(|queue| room.is_none(queue)) {
                runner = runner.for_queues(runner.queues().iter().filter(|queue| !room.is_none(queue)).cloned());
            }
            after = intents.into_iter().last();
            if !more || runner.queues().is_empty() || after.is_none() {
                self.looked = begun;
                return Ok((!room.was_missed, next_due));
            }
        }
    }

    /// Returns `None` if this process is to run it, or else how long until it is due again because another process
    /// has just run it.
    async fn left_to_others(&self, key: &str, every: Duration, alone: bool) -> RedisResult<Option<Duration>> {
        let millis = lifetime_millis(every);
        let mut set = redis::cmd("SET");
        set.arg(key).arg("1").arg("PX").arg(millis);
        if alone {
            self.connection.send(&set).await?;
            return Ok(None);
        }
        if self.connection.send(set.arg("NX")).await? == Value::Okay {
            return Ok(None);
        }
        match self.connection.send(redis::cmd("PTTL").arg(key)).await? {
            Value::Int(left) if left > 0 => {
                Ok(Some(Duration::from_millis(left.unsigned_abs()).min(self.interval) + MIN_LOOK_INTERVAL))
            }
            // The key has just expired, or has no expiry, which no process sets.
            Value::Int(-1) => self.connection.send(redis::cmd("DEL").arg(key)).await.map(|_| Some(MIN_LOOK_INTERVAL)),
            _ => Ok(Some(MIN_LOOK_INTERVAL)),
        }
    }

    /// Lets other processes skip sweeps for a time, unless Redis has lost the key meanwhile.
    async fn leave_to_others(&self, time: Duration) -> RedisResult<()> {
        let mut set = redis::cmd("SET");
        set.arg(&self.sweep_key).arg("1").arg("XX").arg("PX").arg(lifetime_millis(time));
        self.connection.send(&set).await.map(drop)
    }

    fn look_every(&self) -> Duration {
        self.interval.min(LOOK_INTERVAL)
    }

    /// Returns how long until the next look without a trigger.
    fn next_look(&self) -> Duration {
        if self.runner.is_listening() { self.interval.min(QUIET_LOOK_INTERVAL) } else { self.look_every() }
    }
}

/// The room that a sweep found.
#[derive(Default)]
struct Room {
    /// Per queue, the number of consecutive intents without room.
    refused: HashMap<QueueName, usize>,
    was_missed: bool,
}

impl Room {
    fn found(&mut self, queue: &QueueName, announced: usize, refused: usize) {
        self.was_missed |= refused > 0;
        let before = self.refused.entry(queue.clone()).or_default();
        *before = if refused == announced { *before + refused } else { 0 };
    }

    /// Returns whether a queue has no room, as far as is known: it may have some for another class or version, but
    /// the number of intents to try is not bounded.
    fn is_none(&self, queue: &QueueName) -> bool {
        self.refused.get(queue).is_some_and(|refused| *refused >= PAGE_SIZE)
    }
}

impl Plan {
    /// Plans the next look after a look, or after a sweep, which counts as one.
    fn looked(&mut self, now: Instant, every: Duration, next_in: Option<Duration>) {
        (self.looked_at, self.look_at) = (now, now + every);
        self.due_at = next_in.and_then(|next| now.checked_add(next + Duration::from_millis(1)));
    }
}

/// Returns the lifetime of a key, in milliseconds: the interval, slightly shortened, so that this process has the next
/// turn if no other comes first.
fn lifetime_millis(interval: Duration) -> u64 {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(2);
    millis - millis.div_ceil(20)
}

/// Returns the announcement of a due intent. Work of a dead worker has already waited, so it goes with the highest
/// class.
fn announcement(intent: &DueIntent) -> Announcement {
    let priority = if intent.lease_expired { Priority::High } else { intent.priority };
    let route = Route::new(intent.queue.clone(), priority, intent.fingerprint);
    Announcement { key: intent.key.clone(), route }
}

/// A commit may become visible a little later than the due times in it.
fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_sub(i64::try_from(COMMIT_DELAY.as_millis()).unwrap_or(0)))
}
