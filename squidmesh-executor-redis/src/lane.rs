//! A lane: a bounded number of workers over a set of streams.
//!
//! It reads as many entries as it has idle workers, claims them in one call to the store, settles them in Redis,
//! and delivers. From the claim on, the lease in the store protects the work; the entry has no further meaning.

use std::collections::VecDeque;
use std::time::Duration;

use squidmesh_core::Runner;
use squidmesh_core::command::PerformError;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::workflow::Cancellation;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::announce::{Announcement, StreamWriter};
use crate::connection::is_command_error;
use crate::drain::drain;
use crate::entry::{Content, Entry};
use crate::outage_log::OutageLog;
use crate::reader::Reader;
use crate::settler::Settler;

/// The maximum number of entries in one claim.
const MAX_BATCH: usize = 64;
/// How long all workers are busy before the lane looks for work that precedes theirs.
const URGENT_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a failure, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

pub(crate) struct Lane {
    pub(crate) runner: Runner,
    pub(crate) reader: Reader,
    pub(crate) writer: StreamWriter,
    /// Reads that Redis rejects.
    pub(crate) refused: OutageLog,
    /// Reclaims of dead readers' entries that Redis rejects.
    pub(crate) reclaiming: OutageLog,
    /// Settlements that fail.
    pub(crate) settling: OutageLog,
    pub(crate) concurrency: usize,
    pub(crate) drain: Duration,
}

impl Lane {
    /// Works until `shutdown`, then drains.
    pub(crate) async fn run(mut self, shutdown: Cancellation) {
        let mut working = JoinSet::new();
        // Entries that are read, and not yet claimed.
        let mut waiting = VecDeque::new();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            while working.try_join_next().is_some() {}
            let free = self.concurrency.saturating_sub(working.len()).min(MAX_BATCH);
            if free == 0 {
                tokio::select! {
                    _ = working.join_next() => {}
                    _ = shutdown.cancelled() => {}
                    () = sleep(URGENT_LOOK_INTERVAL) => self.look_for_urgent().await,
                }
                continue;
            }
            let succeeded = self.turn(free, &mut waiting, &mut working, &shutdown).await;
            failures = if succeeded { 0 } else { failures + 1 };
            if failures > 0 {
                let pause = RETRY_DELAYS.0.saturating_mul(1 << failures.min(10)).min(RETRY_DELAYS.1);
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = shutdown.cancelled() => {}
                }
            }
        }
        self.return_entries(waiting.into()).await;
        drain(&self.runner, working, self.drain).await;
    }

    /// Makes busy workers give way to work that precedes the next steps of their runs. They already know the
    /// commits of this process.
    async fn look_for_urgent(&self) {
        if let Err(error) = self.runner.look_for_urgent().await {
            tracing::debug!(target: "squidmesh", %error, "cannot look for urgent work; retrying shortly");
        }
    }

    /// Runs one turn: reads if there is nothing left to claim, then claims and delivers. Returns whether all
    /// succeeded.
    async fn turn(
        &mut self,
        free: usize,
        waiting: &mut VecDeque<Entry>,
        working: &mut JoinSet<()>,
        shutdown: &Cancellation,
    ) -> bool {
        if waiting.is_empty() {
            match self.read(free, waiting, shutdown).await {
                Ok(()) => self.refused.succeeded(),
                Err(error) => {
                    if is_command_error(&error) {
                        self.refused.failed(&error);
                    } else {
                        tracing::debug!(target: "squidmesh", %error, "cannot read the streams; retrying shortly");
                    }
                    return false;
                }
            }
        }
        if waiting.is_empty() || shutdown.is_cancelled() {
            return true;
        }
        let batch: Vec<Entry> = waiting.drain(..free.min(waiting.len())).collect();
        let (entries, unclaimed) = self.sort(batch, working).await;
        if self.claim(&entries, working, shutdown).await {
            return unclaimed;
        }
        entries.into_iter().rev().for_each(|(entry, _)| waiting.push_front(entry));
        false
    }

    /// Reads up to `free` entries. Some may have been read even if it fails.
    async fn read(
        &mut self,
        free: usize,
        waiting: &mut VecDeque<Entry>,
        shutdown: &Cancellation,
    ) -> redis::RedisResult<()> {
        // First: under a backlog, each read returns as many entries as are wanted, and the entries of dead readers
        // would wait until its end.
        match self.reader.reclaim(free).await {
            Ok(found) => {
                self.reclaiming.succeeded();
                waiting.extend(found);
            }
            // A rejected reclaim must not block other work. A sweep announces again what it would have found.
            Err(error) if is_command_error(&error) => self.reclaiming.failed(&error),
            Err(error) => return Err(error),
        }
        if waiting.len() < free && !self.reader.is_quiet() {
            waiting.extend(self.reader.read(free - waiting.len()).await?);
        }
        if waiting.is_empty() {
            waiting.extend(self.reader.wait(shutdown).await?);
        }
        Ok(())
    }

    /// Separates due intents from entries that are not to be executed here, and handles the latter. Returns
    /// whether that succeeded.
    async fn sort(&self, batch: Vec<Entry>, working: &mut JoinSet<()>) -> (Vec<(Entry, IntentKey)>, bool) {
        let mut due = Vec::with_capacity(batch.len());
        let mut done = Ok(());
        for entry in batch {
            let handled = match entry.content() {
                Content::Intent(key) => {
                    due.push((entry, key));
                    continue;
                }
                Content::Newer(version, payload) => self.reader.settler.forward(&entry, version, &payload).await,
                Content::Other(payload) => {
                    let (runner, settler) = (self.runner.clone(), self.reader.settler.clone());
                    working.spawn(async move { perform(&runner, &settler, &entry, &payload).await });
                    continue;
                }
                Content::Malformed(reason, payload) => park(&self.reader.settler, &entry, &reason, &payload).await,
            };
            done = done.and(handled);
        }
        (due, done.is_ok())
    }

    /// Claims, delivers and settles. Returns `false` if the store failed; then nothing was done.
    async fn claim(&self, entries: &[(Entry, IntentKey)], working: &mut JoinSet<()>, shutdown: &Cancellation) -> bool {
        if entries.is_empty() {
            return true;
        }
        let keys: Vec<IntentKey> = entries.iter().map(|(_, key)| key.clone()).collect();
        let claims = match self.runner.claim_keys(&keys).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(target: "squidmesh", %error, "cannot claim announced work; retrying shortly");
                return false;
            }
        };
        if shutdown.is_cancelled() {
            if let Err(error) = self.runner.release(claims).await {
                tracing::warn!(target: "squidmesh", %error, "cannot release claims; their leases will expire");
            }
            self.return_entries(entries.iter().map(|(entry, _)| entry.clone()).collect()).await;
            return true;
        }
        for claim in claims {
            let runner = self.runner.clone();
            working.spawn(async move { drop(runner.deliver(claim).await) });
        }
        let settled: Vec<(&Entry, String)> = entries.iter().map(|(entry, key)| (entry, key.to_string())).collect();
        match self.reader.settler.settle(&settled).await {
            Ok(()) => self.settling.succeeded(),
            // They are read again, to no effect.
            Err(error) => self.settling.failed(&error),
        }
        true
    }

    /// Announces again the entries that were read but not started, so that other processes get them.
    async fn return_entries(&self, entries: Vec<Entry>) {
        let mut due = Vec::new();
        for entry in entries {
            if let Content::Intent(key) = entry.content()
                && let Some(route) = self.reader.route(entry.stream)
            {
                due.push((entry, Announcement { key, route }));
            }
        }
        let settled: Vec<(&Entry, String)> = due.iter().map(|(entry, due)| (entry, due.key.to_string())).collect();
        if settled.is_empty() {
            return;
        }
        let announcements: Vec<Announcement> = due.iter().map(|(_, announcement)| announcement.clone()).collect();
        let returned = match self.reader.settler.settle(&settled).await {
            Ok(()) => self.writer.announce(&announcements).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = returned {
            tracing::debug!(target: "squidmesh", %error, "cannot return entries to their streams; a sweep announces them again");
        }
    }
}

/// Executes an entry that is not an intent. It exists only in Redis: until it is executed, or set aside for an
/// operator, it stays with this consumer, and can be taken over from it.
async fn perform(runner: &Runner, settler: &Settler, entry: &Entry, payload: &[u8]) {
    let done = match runner.perform(payload).await {
        Ok(_) => settler.settle(&[(entry, String::new())]).await,
        Err(error @ PerformError::Store(_)) => {
            tracing::warn!(target: "squidmesh", %error, "cannot start an occurrence; it will be delivered again");
            return;
        }
        Err(error) => park(settler, entry, &error.to_string(), payload).await,
    };
    if let Err(error) = done {
        tracing::debug!(target: "squidmesh", %error, "cannot settle an occurrence; it will be delivered again, without effect");
    }
}

/// Sets an entry aside, where an operator sees it.
async fn park(settler: &Settler, entry: &Entry, reason: &str, payload: &[u8]) -> redis::RedisResult<()> {
    let parked = settler.park(entry, reason, payload).await;
    match &parked {
        Ok(()) => {
            tracing::warn!(target: "squidmesh", entry = entry.id, reason, "an entry was moved to the dead letters");
        }
        Err(error) => {
            tracing::debug!(target: "squidmesh", %error, "cannot move an entry to the dead letters; retrying later")
        }
    }
    parked
}
