//! Reads the streams of a lane, as a consumer of its own, and deals with what was read.
//!
//! What it reads is in its hands until it is settled; should this process die, another takes it over. A read that waits has a
//! connection of its own and is never cancelled: what the server gave to a reader who is gone would lie until it is reclaimed.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::{Cancellation, Priority, Route};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::announce::{LIVE, MOST};
use crate::entry::{Entry, LONGEST, list, of_stream, of_streams, placed, text};
use crate::keys::{GROUP, Keys, Stream};
use crate::link::{Link, is_the_commands_own};
use crate::script::{PARK, READ, RECLAIM, SEND_ON, SETTLE};
use crate::signals::Signals;

/// How long a read waits at most for something to come.
pub(crate) const BLOCK: Duration = Duration::from_secs(1);
/// How often a read that waits is told to end, once it should.
const NUDGE: Duration = Duration::from_millis(20);
/// After how long an entry that somebody read and did not settle is taken over: half of a sweep's interval, within these bounds.
/// It is looked for such entries twice as often, so that all of them are taken over within the interval.
const IDLE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often one look may find nothing but entries that were deleted before it goes on another time.
const IN_VAIN: usize = 100;
/// Where the entries that are in somebody's hands begin.
const BEGINNING: &str = "0-0";
/// After so many deliveries an entry that nobody settles is set aside.
pub(crate) const DELIVERIES: usize = 100;
/// After how long a consumer that does nothing and has nothing is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// How many dead letters are kept, about.
pub(crate) const DEAD_LETTERS: usize = 10_000;

/// The classes, in the order of reading.
const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// A consumer of the streams of a lane.
pub(crate) struct Reader {
    /// Waits for entries, and for nothing else.
    waiting: Link,
    commands: Arc<Link>,
    signals: Arc<Signals>,
    /// By class, each with its stream; the streams of a class take turns.
    routes: Vec<Route>,
    pub(crate) streams: Vec<Stream>,
    classes: [usize; CLASSES.len()],
    turn: usize,
    pub(crate) consumer: String,
    keys: Keys,
    /// See [`IDLE`].
    idle: Duration,
    reclaim_at: Instant,
    /// For each stream, where the look for such entries goes on.
    cursors: Vec<String>,
}

impl Reader {
    pub(crate) fn new(
        routes: Vec<Route>,
        keys: &Keys,
        waiting: Link,
        commands: Arc<Link>,
        signals: Arc<Signals>,
        sweep: Duration,
    ) -> Self {
        let idle = (sweep / 2).clamp(IDLE.0, IDLE.1);
        let mut routes = routes;
        routes.sort_by_key(|route| route.priority);
        let count = routes.len();
        Reader {
            waiting,
            commands,
            signals,
            streams: routes.iter().map(|route| keys.stream(route)).collect(),
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

    /// Reads up to `limit` of the entries that are there, higher classes first, queues in turn.
    pub(crate) async fn read(&mut self, limit: usize) -> RedisResult<Vec<Entry>> {
        self.turn = self.turn.wrapping_add(1);
        let order = self.order();
        let names = order.iter().filter_map(|place| self.streams.get(*place)).map(|stream| stream.name.to_string());
        let call = READ.on(names.chain([self.keys.dead_letters()]));
        let call = call.arg(GROUP).arg(&self.consumer).arg(limit).arg(DEAD_LETTERS).arg(LONGEST);
        let call = self.classes.iter().fold(call, |call, streams| call.arg(streams));
        let mut entries = placed(self.commands.call(&call).await?);
        for entry in &mut entries {
            entry.stream = order.get(entry.stream).copied().unwrap_or_default();
        }
        Ok(entries)
    }

    /// Waits until there is something to read, for a while, and reads a little of it. Ends early at shutdown.
    pub(crate) async fn wait(&self, shutdown: &Cancellation) -> RedisResult<Vec<Entry>> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(1);
        command.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1_000)).arg("STREAMS");
        for stream in &self.streams {
            command.arg(&*stream.name);
        }
        for _ in &self.streams {
            command.arg(">");
        }
        let mut read = pin!(self.waiting.send(&command));
        let answer = tokio::select! {
            answer = &mut read => answer,
            _ = shutdown.cancelled() => loop {
                // Beside the read, which may be about to connect and must go on.
                tokio::select! {
                    answer = &mut read => break answer,
                    () = self.nudge() => {}
                }
            },
        };
        match answer {
            Ok(answer) => {
                let place = |name: &str| self.streams.iter().position(|stream| *stream.name == *name);
                Ok(of_streams(answer, place))
            }
            Err(error) => {
                if is_the_commands_own(&error) {
                    // A stream or its group is gone, and what else may be nobody can tell.
                    self.signals.something_may_be_lost();
                }
                Err(error)
            }
        }
    }

    /// Takes over up to `limit` entries that somebody read long ago and did not settle, if it is time to look for them. With more of
    /// them than that, the next look is due at once.
    pub(crate) async fn reclaim(&mut self, limit: usize) -> RedisResult<Vec<Entry>> {
        if Instant::now() < self.reclaim_at {
            return Ok(Vec::new());
        }
        let (entries, more) = self.take_over(limit, self.idle).await?;
        self.reclaim_at = Instant::now() + if more { Duration::ZERO } else { self.idle / 2 };
        Ok(entries)
    }

    /// Takes over up to `limit` entries that somebody has had for so long, and tells whether there may be more.
    pub(crate) async fn take_over(&mut self, limit: usize, idle: Duration) -> RedisResult<(Vec<Entry>, bool)> {
        let mut entries = Vec::new();
        let mut more = false;
        for (place, (stream, cursor)) in self.streams.iter().zip(&mut self.cursors).enumerate() {
            for _ in 0..IN_VAIN {
                let left = limit.saturating_sub(entries.len());
                if left == 0 {
                    more = true;
                    break;
                }
                let call = RECLAIM.on([stream.name.to_string(), self.keys.dead_letters()]).arg(GROUP);
                let call = call.arg(&self.consumer).arg(idle.as_millis()).arg(left).arg(DEAD_LETTERS).arg(LONGEST);
                let call = call.arg(DELIVERIES).arg(FORGET.as_millis()).arg(&*cursor);
                let (next, found) = resumed(self.commands.call(&call).await?);
                *cursor = next.unwrap_or_else(|| BEGINNING.to_owned());
                entries.extend(of_stream(place, found));
                if cursor == BEGINNING {
                    break;
                }
            }
            more |= cursor != BEGINNING;
        }
        Ok((entries, more))
    }

    /// Has done with entries: the store has their intents in somebody's hands, or does not have them any more.
    pub(crate) async fn settle(&self, entries: &[(&Entry, String)]) -> RedisResult<()> {
        let mut places: Vec<usize> = entries.iter().map(|(entry, _)| entry.stream).collect();
        places.sort_unstable();
        places.dedup();
        let streams = places.iter().filter_map(|place| self.streams.get(*place));
        let call = SETTLE.on(streams.flat_map(|stream| [stream.name.to_string(), stream.index()])).arg(GROUP);
        let call = entries.iter().fold(call, |call, (entry, job)| {
            let place = places.binary_search(&entry.stream).unwrap_or_default() + 1;
            call.arg(place).arg(&entry.id).arg(job)
        });
        self.commands.call(&call).await.map(drop)
    }

    /// Sends an entry of a newer version on to the stream in which processes of that version look: nobody who reads this one has
    /// words for it. Where there is no room it is dropped, as an announcement may be: those processes look into the store as well.
    pub(crate) async fn send_on(&self, entry: &Entry, version: u64, payload: &[u8]) -> RedisResult<()> {
        let Some(stream) = self.streams.get(entry.stream) else { return Ok(()) };
        let call = SEND_ON.on([stream.name.to_string(), self.keys.of_version(stream, version)]);
        let call = call.arg(GROUP).arg(&entry.id).arg(MOST).arg(LIVE.as_millis()).bytes(payload);
        self.commands.call(&call).await.map(drop)
    }

    /// Sets an entry aside that cannot be carried out.
    pub(crate) async fn park(&self, entry: &Entry, reason: &str, payload: &[u8]) -> RedisResult<()> {
        let Some(stream) = self.streams.get(entry.stream) else { return Ok(()) };
        let call = PARK.on([stream.name.to_string(), self.keys.dead_letters()]).arg(GROUP).arg(&entry.id);
        let call = call.arg(DEAD_LETTERS).arg(LONGEST).arg(reason).bytes(payload);
        self.commands.call(&call).await.map(drop)
    }

    /// The way that the entries of a stream come.
    pub(crate) fn route(&self, stream: usize) -> Option<Route> {
        self.routes.get(stream).cloned()
    }

    /// Has the server end the read that waits, with nothing, and gives it a moment.
    async fn nudge(&self) {
        if let Some(id) = self.waiting.id().await {
            let mut command = redis::cmd("CLIENT");
            // Where it is forbidden, or comes before the read has begun to wait, the read ends by itself.
            let _: RedisResult<Value> = self.commands.send(command.arg("UNBLOCK").arg(id)).await;
        }
        sleep(NUDGE).await;
    }

    /// The places of the streams, class by class, begun at another one each time.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.streams.len()).collect();
        let mut rest = &mut order[..];
        for streams in self.classes {
            let Some((class, after)) = rest.split_at_mut_checked(streams) else { break };
            if streams > 0 {
                class.rotate_left(self.turn % streams);
            }
            rest = after;
        }
        order
    }
}

/// An answer of where to go on, and what was found.
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
