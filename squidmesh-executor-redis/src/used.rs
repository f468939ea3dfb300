//! The streams that have entries, which a process reads instead of all its streams.
//!
//! An announcer adds its stream to a set, and the consumer that empties a stream removes it. The set is a hint,
//! like everything in Redis: a blocking read covers all streams, each announcement adds its own again, and each
//! look here checks a few more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::entry::{list, text};
use crate::keys::{GROUP, Keys, Stream};
use crate::script::USED;

/// The time after which an idle consumer without entries is removed.
pub(crate) const CONSUMER_TTL: Duration = Duration::from_secs(600);
/// The number of streams to check per look.
const CHECKED_STREAMS: usize = 2;

/// The streams that have entries, shared by the lanes of a process.
pub(crate) struct UsedStreams {
    connection: Arc<Connection>,
    key: String,
    /// The streams that this process reads.
    own: Vec<Stream>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    names: Arc<HashSet<String>>,
    /// The position of the next check.
    check: usize,
}

impl UsedStreams {
    pub(crate) fn new(connection: Arc<Connection>, keys: &Keys, own: Vec<Stream>) -> Self {
        UsedStreams { connection, key: keys.used(), own, seen: Mutex::default() }
    }

    /// Returns the streams in use, as of at most `age` ago.
    pub(crate) async fn look(&self, age: Duration) -> RedisResult<Arc<HashSet<String>>> {
        let mut seen = self.seen.lock().await;
        if seen.at.is_some_and(|at| at.elapsed() < age) {
            return Ok(seen.names.clone());
        }
        let checked = self.own.iter().cycle().skip(seen.check).take(CHECKED_STREAMS.min(self.own.len()));
        let call = USED.on([self.key.clone()].into_iter().chain(checked.map(|stream| stream.name.to_string())));
        let call = call.arg(GROUP).arg(CONSUMER_TTL.as_millis());
        let names = Arc::new(names(self.connection.call(&call).await?).collect::<HashSet<_>>());
        let check = (seen.check + 1) % self.own.len().max(1);
        *seen = Seen { at: Some(Instant::now()), names: names.clone(), check };
        Ok(names)
    }
}

/// Returns the names in an answer.
pub(crate) fn names(answer: Value) -> impl Iterator<Item = String> {
    list(answer).into_iter().filter_map(|name| text(&name))
}
