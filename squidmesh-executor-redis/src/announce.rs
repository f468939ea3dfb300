//! Announces intents after their commit, off the critical path.
//!
//! Published intents wait in a bounded channel for a task that announces them in batches. If the channel is full,
//! an announcement is dropped: the intent is in the store, and a sweep announces it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::RunId;
use squidmesh_core::command::Route;
use squidmesh_core::dispatch::{DeliveryMessage, IntentKey};
use squidmesh_core::port::{DatabaseIdentity, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, is_command_error};
use crate::entry::list;
use crate::keys::{GROUP, Keys, Stream};
use crate::outage_log::OutageLog;
use crate::script::ANNOUNCE;
use crate::sweep_triggers::SweepTriggers;

/// The maximum number of announcements that wait for Redis.
const MAX_QUEUED: usize = 10_000;
/// The maximum number of announcements in one call of a script.
const MAX_BATCH: usize = 256;
/// The maximum number of entries in a stream. Further due work waits in the store until there is room.
pub(crate) const MAX_STREAM_LENGTH: usize = 100_000;
/// How long a stream without announcements is kept.
pub(crate) const STREAM_TTL: Duration = Duration::from_secs(3 * 24 * 3600);
/// The pause before a failed batch is retried, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a reader may hold an announcement without settling it before it is announced again: the reader is
/// dead, and those that take over may not be permitted to.
pub(crate) const MAX_HELD: Duration = Duration::from_secs(10);

/// A due intent, and its route to its workers.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) key: IntentKey,
    pub(crate) route: Route,
}

/// Announces due intents.
pub(crate) struct Announcer {
    sender: mpsc::Sender<Announcement>,
    task: Arc<AnnouncerTask>,
}

/// The state of the task that announces.
struct AnnouncerTask {
    receiver: Mutex<mpsc::Receiver<Announcement>>,
    writer: StreamWriter,
    /// The databases whose work is announced: nearly always one.
    databases: std::sync::Mutex<Vec<DatabaseIdentity>>,
    attached: Notify,
    running: AtomicBool,
    unsent: AtomicUsize,
    triggers: Arc<SweepTriggers>,
    /// Announcements that Redis rejects.
    refused: OutageLog,
}

/// The streams, as an announcer uses them.
#[derive(Clone)]
pub(crate) struct StreamWriter {
    connection: Arc<Connection>,
    keys: Keys,
    /// See [`MAX_STREAM_LENGTH`].
    pub(crate) max_length: usize,
    /// See [`MAX_HELD`].
    pub(crate) max_held: Duration,
}

/// The result of announcing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The number of intents that were not yet announced.
    pub(crate) added: usize,
    /// The number of intents for which there was no room.
    pub(crate) refused: usize,
}

impl Announcer {
    pub(crate) fn new(writer: StreamWriter, triggers: Arc<SweepTriggers>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let (running, unsent) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (receiver, refused) = (Mutex::new(receiver), OutageLog::new("announcing work"));
        let (databases, attached) = (std::sync::Mutex::default(), Notify::new());
        let task = AnnouncerTask { receiver, writer, databases, attached, running, unsent, triggers, refused };
        Announcer { sender, task: Arc::new(task) }
    }

    /// Announces for a database. Until then, due work waits.
    pub(crate) fn attach(&self, database: DatabaseIdentity) {
        let mut databases = self.task.databases.lock().unwrap_or_else(PoisonError::into_inner);
        if !databases.iter().any(|known| known.is_same(&database)) {
            databases.push(database);
        }
        self.task.attached.notify_one();
    }

    /// Queues a due intent to be announced. Never blocks.
    pub(crate) fn announce(&self, announcement: Announcement) {
        self.task.unsent.fetch_add(1, Ordering::SeqCst);
        if self.sender.try_send(announcement).is_err() {
            self.task.unsent.fetch_sub(1, Ordering::SeqCst);
            self.task.triggers.announcements_were_dropped();
        }
    }

    /// Ensures that the announcing task runs. Without a runtime it cannot; sweeps of other processes then announce
    /// the work.
    pub(crate) fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.task.running.swap(true, Ordering::SeqCst) {
            runtime.spawn(work(EndRunning(self.task.clone())));
        }
    }

    /// Waits until all queued intents are announced, for at most `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.task.unsent.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Lets another task take over if the runtime of this one ends.
struct EndRunning(Arc<AnnouncerTask>);

impl Drop for EndRunning {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::SeqCst);
    }
}

async fn work(running: EndRunning) {
    let task = &running.0;
    let mut receiver = task.receiver.lock().await;
    let mut batch = Vec::new();
    // The senders are dropped with the executor.
    while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let mut pause = RETRY_DELAYS.0;
        loop {
            match task.announce(&batch).await {
                Ok(()) => {
                    task.refused.succeeded();
                    break;
                }
                Err(Unannounced::Redis(error)) if is_command_error(&error) => {
                    task.refused.failed(&error);
                    task.triggers.announcements_were_dropped();
                    break;
                }
                Err(error) => {
                    tracing::debug!(target: "squidmesh", %error, "cannot announce work; retrying shortly")
                }
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(RETRY_DELAYS.1);
        }
        task.unsent.fetch_sub(batch.len(), Ordering::SeqCst);
        batch.clear();
    }
}

/// Why work was not announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unannounced {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

impl AnnouncerTask {
    /// Announces for each database. Which one has the work is unknown; in the others, the announcement has no
    /// effect.
    async fn announce(&self, batch: &[Announcement]) -> Result<(), Unannounced> {
        let mut identities = Vec::new();
        for database in self.databases().await {
            let identity = database.get().await?;
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        for identity in identities {
            self.writer.of_database(identity.as_deref()).announce(batch).await?;
        }
        Ok(())
    }

    async fn databases(&self) -> Vec<DatabaseIdentity> {
        loop {
            let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !databases.is_empty() {
                return databases;
            }
            self.attached.notified().await;
        }
    }
}

impl StreamWriter {
    /// Returns the streams of one database.
    fn of_database(&self, identity: Option<&str>) -> Self {
        self.with(&self.keys.of_database(identity))
    }

    /// Returns the streams with these names.
    pub(crate) fn with(&self, keys: &Keys) -> Self {
        StreamWriter { keys: keys.clone(), ..self.clone() }
    }

    pub(crate) fn new(connection: Arc<Connection>, keys: Keys) -> Self {
        StreamWriter { connection, keys, max_length: MAX_STREAM_LENGTH, max_held: MAX_HELD }
    }

    /// Announces the intents that are not yet announced.
    pub(crate) async fn announce(&self, announcements: &[Announcement]) -> RedisResult<Announced> {
        let mut streams: HashMap<Stream, Vec<&IntentKey>> = HashMap::new();
        for Announcement { key, route } in announcements {
            streams.entry(self.keys.stream(route)).or_default().push(key);
        }
        let mut all = Announced::default();
        for (stream, keys) in streams {
            for keys in interleaved(keys).chunks(MAX_BATCH) {
                let announced = self.announce_in(&stream, keys).await?;
                all.added += announced.added;
                all.refused += announced.refused;
            }
        }
        Ok(all)
    }

    async fn announce_in(&self, stream: &Stream, keys: &[&IntentKey]) -> RedisResult<Announced> {
        let call =
            ANNOUNCE.on([stream.name.to_string(), stream.index(), self.keys.used()]).arg(GROUP).arg(self.max_length);
        let call = call.arg(STREAM_TTL.as_millis()).arg(self.max_held.as_millis());
        let call = keys.iter().fold(call, |call, key| call.arg(key).arg(DeliveryMessage::from(*key)));
        let counts = list(self.connection.call(&call).await?).into_iter().map(|count| match count {
            Value::Int(count) => usize::try_from(count).unwrap_or(0),
            _ => 0,
        });
        match counts.collect::<Vec<_>>()[..] {
            [added, refused] => Ok(Announced { added, refused }),
            _ => Ok(Announced::default()),
        }
    }
}

/// Interleaves the intents of different runs: the first of each run, then the second of each, and so on.
fn interleaved(mut keys: Vec<&IntentKey>) -> Vec<&IntentKey> {
    let mut seen: HashMap<RunId, usize> = HashMap::new();
    keys.sort_by_cached_key(|key| {
        let turn = seen.entry(key.run_id).or_default();
        *turn += 1;
        *turn
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use squidmesh_core::testing::sample;

    #[test]
    fn a_wide_run_leaves_room_for_others() {
        let key = |run, step: &str| IntentKey::step(sample::run_id(run), sample::step_name(step));
        let keys = [key(1, "a"), key(1, "b"), key(1, "c"), key(2, "a"), key(3, "a"), key(3, "b")];
        let order: Vec<String> = interleaved(keys.iter().collect()).iter().map(ToString::to_string).collect();
        let expected = [key(1, "a"), key(2, "a"), key(3, "a"), key(1, "b"), key(3, "b"), key(1, "c")];
        assert_eq!(order, expected.map(|key| key.to_string()));
    }
}
