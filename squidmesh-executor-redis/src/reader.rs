//! Reads the streams of a lane, as a consumer of its own.
//!
//! An entry that was read stays with this consumer until it is settled; if this process dies, another takes it
//! over. A blocking read has a connection of its own and is never cancelled: entries that the server returned to a
//! reader that is gone would be stuck until they are reclaimed.
//!
//! A blocking read covers all streams of the lane in one command, and is all that an idle lane does. Other reads
//! cover the streams that are in use.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::command::Route;
use squidmesh_core::definition::Priority;
use squidmesh_core::workflow::Cancellation;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::announce::STREAM_TTL;
use crate::connection::{Connection, is_command_error};
use crate::entry::{Entry, MAX_PAYLOAD, list, numbered, of_stream, of_streams, text};
use crate::keys::{GROUP, Keys, Stream};
use crate::script::{PREPARE, READ, RECLAIM};
use crate::settler::{MAX_DEAD_LETTERS, Settler};
use crate::sweep_triggers::SweepTriggers;
use crate::used::{CONSUMER_TTL, UsedStreams, names as names_of};

/// How long a read blocks at first, and at most when nothing arrives.
const BLOCK_TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// How much later its answer may arrive.
const ANSWER_MARGIN: Duration = Duration::from_secs(3);
/// The maximum time that the answer to a blocking read may take.
pub(crate) const MAX_ANSWER_TIME: Duration = BLOCK_TIMES.1.saturating_add(ANSWER_MARGIN);
/// The number of streams to create in one call.
const PREPARE_BATCH: usize = 256;
/// The longest pause after entries could not be taken over.
const MAX_RECLAIM_DELAY: Duration = Duration::from_secs(60);
/// How often a blocking read is unblocked, once it should end.
const UNBLOCK_INTERVAL: Duration = Duration::from_millis(20);
/// The idle time after which an unsettled entry is taken over: half of a sweep's interval, within these limits.
/// Reclaims run twice as often, so that all such entries are taken over within the interval.
const RECLAIM_IDLE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often one reclaim may find nothing but deleted entries before the rest waits for the next one.
const MAX_EMPTY_RECLAIMS: usize = 100;
/// The start of the pending entries.
const BEGINNING: &str = "0-0";
/// The number of deliveries after which an unsettled entry is set aside.
pub(crate) const MAX_DELIVERIES: usize = 100;

/// The classes, in the order of reading.
const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// A consumer of the streams of a lane.
pub(crate) struct Reader {
    /// Used for blocking reads only.
    waiting: Connection,
    commands: Arc<Connection>,
    triggers: Arc<SweepTriggers>,
    /// By class, each with its stream; the streams of a class take turns.
    routes: Vec<Route>,
    pub(crate) streams: Arc<[Stream]>,
    /// The position of each stream, by name.
    indexes: HashMap<Arc<str>, usize>,
    /// The streams in use, shared by the lanes of this process.
    used: Arc<UsedStreams>,
    /// The streams of this lane that are known to have had entries.
    used_here: BTreeSet<usize>,
    /// Whether all streams and groups existed at the last check.
    prepared: bool,
    /// See [`Reader::is_quiet`].
    quiet: bool,
    /// How long the next read blocks.
    block: Duration,
    /// The number of consecutive failed reclaims.
    reclaims_failed: u32,
    /// Handles the entries that were read.
    pub(crate) settler: Settler,
    classes: [usize; CLASSES.len()],
    turn: usize,
    pub(crate) consumer: String,
    keys: Keys,
    /// See [`RECLAIM_IDLE`].
    idle: Duration,
    reclaim_at: Instant,
    /// For each stream, the position at which the next reclaim continues.
    cursors: Vec<String>,
}

impl Reader {
    pub(crate) fn new(
        routes: Vec<Route>,
        keys: &Keys,
        waiting: Connection,
        commands: Arc<Connection>,
        triggers: Arc<SweepTriggers>,
        used: Arc<UsedStreams>,
        sweep: Duration,
    ) -> Self {
        let idle = (sweep / 2).clamp(RECLAIM_IDLE.0, RECLAIM_IDLE.1);
        let mut routes = routes;
        routes.sort_by_key(|route| route.priority);
        let count = routes.len();
        let streams: Arc<[Stream]> = routes.iter().map(|route| keys.stream(route)).collect();
        Reader {
            waiting,
            triggers,
            indexes: streams.iter().enumerate().map(|(index, stream)| (stream.name.clone(), index)).collect(),
            used,
            // The first read covers all streams.
            used_here: (0..count).collect(),
            prepared: false,
            quiet: false,
            block: BLOCK_TIMES.0,
            reclaims_failed: 0,
            settler: Settler::new(commands.clone(), keys.clone(), streams.clone()),
            commands,
            streams,
            classes: CLASSES.map(|class| routes.iter().filter(|route| route.priority == class).count()),
            routes,
            turn: 0,
            consumer: Uuid::new_v4().to_string(),
            keys: keys.clone(),
            idle,
            reclaim_at: Instant::now() + idle / 2,
            cursors: vec![BEGINNING.to_owned(); count],
        }
    }

    /// Returns whether the last read found nothing: only a blocking read finds more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Reads up to `limit` available entries, higher classes first, queues in turn.
    pub(crate) async fn read(&mut self, limit: usize) -> RedisResult<Vec<Entry>> {
        self.quiet = false;
        self.turn = self.turn.wrapping_add(1);
        let known = self.used_here.clone();
        let mut entries = self.read_from(&known, limit).await?;
        let new: BTreeSet<usize> = self.used_here.difference(&known).copied().collect();
        if entries.len() < limit && !new.is_empty() {
            // If this fails, the next read finds the same entries.
            entries.extend(self.read_from(&new, limit - entries.len()).await.unwrap_or_default());
        }
        self.quiet = entries.is_empty();
        Ok(entries)
    }

    /// Reads from some streams, and records which are in use.
    async fn read_from(&mut self, indexes: &BTreeSet<usize>, limit: usize) -> RedisResult<Vec<Entry>> {
        let (order, classes) = self.order(indexes);
        let names = order.iter().filter_map(|index| self.streams.get(*index)).map(|stream| stream.name.to_string());
        let call = READ.on([self.keys.used(), self.keys.dead_letters()].into_iter().chain(names));
        let call = call.arg(GROUP).arg(&self.consumer).arg(limit).arg(MAX_DEAD_LETTERS).arg(MAX_PAYLOAD);
        let call = classes.iter().fold(call, |call, streams| call.arg(streams));
        let (used, found) = match <[Value; 2]>::try_from(list(self.commands.call(&call).await?)) {
            Ok([used, found]) => (used, found),
            Err(_) => (Value::Nil, Value::Nil),
        };
        self.used_here = names_of(used).filter_map(|name| self.indexes.get(&*name).copied()).collect();
        let mut entries = numbered(found);
        for entry in &mut entries {
            entry.stream = order.get(entry.stream).copied().unwrap_or_default();
        }
        Ok(entries)
    }

    /// Blocks for a while until an entry arrives, and reads at most one entry per stream. Ends early at shutdown.
    pub(crate) async fn wait(&mut self, shutdown: &Cancellation) -> RedisResult<Vec<Entry>> {
        let answer = match self.prepare().await {
            Ok(()) => self.block(shutdown).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                let entries = of_streams(answer, |name| self.indexes.get(name).copied());
                self.used_here.extend(entries.iter().map(|entry| entry.stream));
                self.quiet = entries.is_empty();
                self.block = if self.quiet { (self.block * 2).min(BLOCK_TIMES.1) } else { BLOCK_TIMES.0 };
                Ok(entries)
            }
            Err(error) => {
                (self.quiet, self.block) = (false, BLOCK_TIMES.0);
                if is_command_error(&error) {
                    // A stream or its group is gone, and more may be lost.
                    self.prepared = false;
                    self.triggers.announcements_may_be_lost();
                }
                Err(error)
            }
        }
    }

    /// Creates missing streams and groups: a blocking read fails if one is missing.
    async fn prepare(&mut self) -> RedisResult<()> {
        if self.prepared {
            return Ok(());
        }
        for streams in self.streams.chunks(PREPARE_BATCH) {
            let call = PREPARE.on(streams.iter().map(|stream| stream.name.to_string()));
            self.commands.call(&call.arg(GROUP).arg(STREAM_TTL.as_millis())).await?;
        }
        self.prepared = true;
        Ok(())
    }

    async fn block(&self, shutdown: &Cancellation) -> RedisResult<Value> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(1);
        command.arg("BLOCK").arg(u64::try_from(self.block.as_millis()).unwrap_or(1_000)).arg("STREAMS");
        for stream in &*self.streams {
            command.arg(&*stream.name);
        }
        for _ in &*self.streams {
            command.arg(">");
        }
        let mut read = pin!(self.waiting.send_within(&command, self.block + ANSWER_MARGIN));
        tokio::select! {
            answer = &mut read => answer,
            _ = shutdown.cancelled() => loop {
                // Concurrently with the read, which may be about to connect and must continue.
                tokio::select! {
                    answer = &mut read => break answer,
                    () = self.unblock() => {}
                }
            },
        }
    }

    /// Takes over up to `limit` entries that other consumers read long ago and did not settle, if a reclaim is
    /// due. If there are more, the next reclaim is due at once.
    pub(crate) async fn reclaim(&mut self, limit: usize) -> RedisResult<Vec<Entry>> {
        if Instant::now() < self.reclaim_at {
            return Ok(Vec::new());
        }
        let taken_over = self.take_over(limit, self.idle).await;
        let pause = match &taken_over {
            Ok((_, true)) => Duration::ZERO,
            Ok((_, false)) => self.idle / 2,
            Err(_) => (self.idle / 2).saturating_mul(1 << self.reclaims_failed.min(6)).min(MAX_RECLAIM_DELAY),
        };
        self.reclaims_failed = if taken_over.is_ok() { 0 } else { self.reclaims_failed.saturating_add(1) };
        self.reclaim_at = Instant::now() + pause;
        taken_over.map(|(entries, _)| entries)
    }

    /// Takes over up to `limit` entries that have been pending for `idle`, and returns whether there may be more.
    pub(crate) async fn take_over(&mut self, limit: usize, idle: Duration) -> RedisResult<(Vec<Entry>, bool)> {
        let used = self.used.look(idle / 4).await?;
        let mut entries = Vec::new();
        let mut more = false;
        for (index, (stream, cursor)) in self.streams.iter().zip(&mut self.cursors).enumerate() {
            if !used.contains(&*stream.name) {
                continue;
            }
            for _ in 0..MAX_EMPTY_RECLAIMS {
                let left = limit.saturating_sub(entries.len());
                if left == 0 {
                    more = true;
                    break;
                }
                let call = RECLAIM.on([stream.name.to_string(), self.keys.dead_letters()]).arg(GROUP);
                let call =
                    call.arg(&self.consumer).arg(idle.as_millis()).arg(left).arg(MAX_DEAD_LETTERS).arg(MAX_PAYLOAD);
                let call = call.arg(MAX_DELIVERIES).arg(CONSUMER_TTL.as_millis()).arg(&*cursor);
                let (next, found) = resumed(self.commands.call(&call).await?);
                *cursor = next.unwrap_or_else(|| BEGINNING.to_owned());
                entries.extend(of_stream(index, found));
                if cursor == BEGINNING {
                    break;
                }
            }
            more |= cursor != BEGINNING;
        }
        Ok((entries, more))
    }

    /// Returns the route of the entries of a stream.
    pub(crate) fn route(&self, stream: usize) -> Option<Route> {
        self.routes.get(stream).cloned()
    }

    /// Makes the server end the blocking read, without a result, and waits briefly.
    async fn unblock(&self) {
        if let Some(id) = self.waiting.id().await {
            let mut command = redis::cmd("CLIENT");
            // If the command is forbidden, or precedes the blocking of the read, the read ends by itself.
            let _: RedisResult<Value> = self.commands.send(command.arg("UNBLOCK").arg(id)).await;
        }
        sleep(UNBLOCK_INTERVAL).await;
    }

    /// Returns the positions of streams, class by class, each rotated by the turn, and their number per class.
    fn order(&self, indexes: &BTreeSet<usize>) -> (Vec<usize>, [usize; CLASSES.len()]) {
        let (mut order, mut counts) = (Vec::with_capacity(indexes.len()), [0; CLASSES.len()]);
        let mut first = 0;
        for (streams, count) in self.classes.iter().zip(&mut counts) {
            let mut class: Vec<usize> = indexes.range(first..first + streams).copied().collect();
            *count = class.len();
            if !class.is_empty() {
                class.rotate_left(self.turn % *count);
            }
            order.append(&mut class);
            first += streams;
        }
        (order, counts)
    }
}

/// Decodes an answer with the position to continue from and the entries found.
fn resumed(answer: Value) -> (Option<String>, Value) {
    match <[Value; 2]>::try_from(list(answer)) {
        Ok([next, found]) => (text(&next), found),
        Err(_) => (None, Value::Nil),
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("consumer", &self.consumer)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}
