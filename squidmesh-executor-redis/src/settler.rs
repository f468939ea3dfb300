//! Settles, forwards or sets aside entries that were read.

use std::sync::Arc;

use redis::RedisResult;

use crate::announce::{MAX_STREAM_LENGTH, STREAM_TTL};
use crate::connection::Connection;
use crate::entry::{Entry, MAX_PAYLOAD};
use crate::keys::{GROUP, Keys, Stream};
use crate::script::{FORWARD, PARK, SETTLE};

/// The approximate number of dead letters to keep.
pub(crate) const MAX_DEAD_LETTERS: usize = 10_000;

/// Handles the entries of some streams.
#[derive(Clone)]
pub(crate) struct Settler {
    commands: Arc<Connection>,
    keys: Keys,
    streams: Arc<[Stream]>,
}

impl Settler {
    pub(crate) fn new(commands: Arc<Connection>, keys: Keys, streams: Arc<[Stream]>) -> Self {
        Settler { commands, keys, streams }
    }

    /// Removes entries whose intents the store has leased to a worker, or no longer has.
    pub(crate) async fn settle(&self, entries: &[(&Entry, String)]) -> RedisResult<()> {
        let mut indexes: Vec<usize> = entries.iter().map(|(entry, _)| entry.stream).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let streams = indexes.iter().filter_map(|index| self.streams.get(*index));
        let names = streams.flat_map(|stream| [stream.name.to_string(), stream.index()]);
        let call = SETTLE.on([self.keys.used()].into_iter().chain(names)).arg(GROUP);
        let call = entries.iter().fold(call, |call, (entry, job)| {
            let index = indexes.binary_search(&entry.stream).unwrap_or_default() + 1;
            call.arg(index).arg(&entry.id).arg(job)
        });
        self.commands.call(&call).await.map(drop)
    }

    /// Forwards an entry of a newer version to the stream of processes of that version: processes that read this
    /// stream cannot decode it. If there is no room, it is dropped, as an announcement may be: those processes
    /// look into the store as well.
    pub(crate) async fn forward(&self, entry: &Entry, version: u64, payload: &[u8]) -> RedisResult<()> {
        let Some(stream) = self.streams.get(entry.stream) else { return Ok(()) };
        let call = FORWARD.on([stream.name.to_string(), self.keys.of_version(stream, version)]);
        let call = call.arg(GROUP).arg(&entry.id).arg(MAX_STREAM_LENGTH).arg(STREAM_TTL.as_millis()).bytes(payload);
        self.commands.call(&call).await.map(drop)
    }

    /// Sets an entry aside that cannot be executed.
    pub(crate) async fn park(&self, entry: &Entry, reason: &str, payload: &[u8]) -> RedisResult<()> {
        let Some(stream) = self.streams.get(entry.stream) else { return Ok(()) };
        let call = PARK.on([stream.name.to_string(), self.keys.dead_letters()]).arg(GROUP).arg(&entry.id);
        let call = call.arg(MAX_DEAD_LETTERS).arg(MAX_PAYLOAD).arg(reason).bytes(payload);
        self.commands.call(&call).await.map(drop)
    }
}
