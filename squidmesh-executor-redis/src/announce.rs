//! Announces intents after their commit, off the path of the work.
//!
//! What is published waits in a bounded channel for a task that announces it in batches. What finds no room is given up: it is in
//! the store, and a sweep announces it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::{RedisResult, Value};
use squidmesh_core::{DeliveryPayload, IntentKey, Route, RunId};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};

use crate::entry::list;
use crate::keys::{GROUP, Keys, Stream};
use crate::link::{Link, is_the_commands_own};
use crate::script::ANNOUNCE;
use crate::signals::Signals;
use crate::trouble::Trouble;

/// The most announcements that wait for Redis.
const WAITING: usize = 10_000;
/// The most announcements in one call of a script.
const BATCH: usize = 256;
/// The most entries in a stream: what is due beyond waits in the store until there is room.
pub(crate) const MOST: usize = 100_000;
/// How long a stream that nobody announces anything in is kept.
pub(crate) const LIVE: Duration = Duration::from_secs(3 * 24 * 3600);
/// The pause before a batch that could not be announced is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// An intent that is due, and the way to its workers.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) key: IntentKey,
    pub(crate) route: Route,
}

/// Announces what it is told of.
pub(crate) struct Announcer {
    sender: mpsc::Sender<Announcement>,
    desk: Arc<Desk>,
}

/// What the task has that announces.
struct Desk {
    receiver: Mutex<mpsc::Receiver<Announcement>>,
    board: Board,
    running: AtomicBool,
    unsent: AtomicUsize,
    signals: Arc<Signals>,
    /// Announcements that Redis refuses.
    refused: Trouble,
}

/// The streams, as somebody sees them who announces.
#[derive(Clone)]
pub(crate) struct Board {
    link: Arc<Link>,
    keys: Keys,
    /// See [`MOST`].
    pub(crate) most: usize,
}

/// What came of announcing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// So many were not announced before.
    pub(crate) added: usize,
    /// For so many there was no room.
    pub(crate) refused: usize,
}

impl Announcer {
    pub(crate) fn new(board: Board, signals: Arc<Signals>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (running, unsent) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (receiver, refused) = (Mutex::new(receiver), Trouble::with("announcing work, which sweeps do otherwise"));
        Announcer { sender, desk: Arc::new(Desk { receiver, board, running, unsent, signals, refused }) }
    }

    /// Takes note of a due intent. Never blocks.
    pub(crate) fn announce(&self, announcement: Announcement) {
        self.desk.unsent.fetch_add(1, Ordering::SeqCst);
        if self.sender.try_send(announcement).is_err() {
            self.desk.unsent.fetch_sub(1, Ordering::SeqCst);
            self.desk.signals.announcements_were_given_up();
        }
    }

    /// Sees to it that somebody announces what was noted. Outside a runtime nobody can: the sweeps of others find it.
    pub(crate) fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.desk.running.swap(true, Ordering::SeqCst) {
            runtime.spawn(work(Shift(self.desk.clone())));
        }
    }

    /// Waits until everything noted so far is announced, or for so long.
    pub(crate) async fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.desk.unsent.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Lets another task take over, should the runtime of this one end.
struct Shift(Arc<Desk>);

impl Drop for Shift {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::SeqCst);
    }
}

async fn work(shift: Shift) {
    let desk = &shift.0;
    let mut receiver = desk.receiver.lock().await;
    let mut batch = Vec::new();
    // The senders are gone when the executor is.
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        loop {
            match desk.board.announce(&batch).await {
                Ok(_) => {
                    desk.refused.worked();
                    break;
                }
                Err(error) if is_the_commands_own(&error) => {
                    desk.refused.failed(&error);
                    desk.signals.announcements_were_given_up();
                    break;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        desk.unsent.fetch_sub(batch.len(), Ordering::SeqCst);
        batch.clear();
    }
}

impl Board {
    pub(crate) fn new(link: Arc<Link>, keys: Keys) -> Self {
        Board { link, keys, most: MOST }
    }

    /// Announces what is not announced.
    pub(crate) async fn announce(&self, announcements: &[Announcement]) -> RedisResult<Announced> {
        let mut streams: HashMap<Stream, Vec<&IntentKey>> = HashMap::new();
        for Announcement { key, route } in announcements {
            streams.entry(self.keys.stream(route)).or_default().push(key);
        }
        let mut all = Announced::default();
        for (stream, keys) in streams {
            for keys in in_turns(keys).chunks(BATCH) {
                let some = self.announce_in(&stream, keys).await?;
                all.added += some.added;
                all.refused += some.refused;
            }
        }
        Ok(all)
    }

    async fn announce_in(&self, stream: &Stream, keys: &[&IntentKey]) -> RedisResult<Announced> {
        let call =
            ANNOUNCE.on([stream.name.to_string(), stream.index()]).arg(GROUP).arg(self.most).arg(LIVE.as_millis());
        let call = keys.iter().fold(call, |call, key| call.arg(key).arg(DeliveryPayload::from(*key)));
        let counts = list(self.link.call(&call).await?).into_iter().map(|count| match count {
            Value::Int(count) => usize::try_from(count).unwrap_or(0),
            _ => 0,
        });
        match counts.collect::<Vec<_>>()[..] {
            [added, refused] => Ok(Announced { added, refused }),
            _ => Ok(Announced::default()),
        }
    }
}

/// Those of one run not all before those of the next: the first of each run, then the second of each, and so on.
fn in_turns(mut keys: Vec<&IntentKey>) -> Vec<&IntentKey> {
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
        let order: Vec<String> = in_turns(keys.iter().collect()).iter().map(ToString::to_string).collect();
        let expected = [key(1, "a"), key(2, "a"), key(3, "a"), key(1, "b"), key(3, "b"), key(1, "c")];
        assert_eq!(order, expected.map(|key| key.to_string()));
    }
}
