//! A lane: a bounded number of workers over a set of streams.
//!
//! It reads as much as it has workers free, claims what it has read in one call to the store, settles that in Redis, and
//! delivers. From the claim on it is the lease in the store that protects the work; an entry has no meaning then.

use std::collections::VecDeque;
use std::time::Duration;

use squidmesh_core::{Cancellation, IntentKey, PerformError, Runner};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::announce::{Announcement, Board};
use crate::drain::drain;
use crate::entry::{Content, Entry};
use crate::link::is_the_commands_own;
use crate::reader::Reader;
use crate::trouble::Trouble;

/// The most entries in one claim.
const BATCH: usize = 64;
/// The pause after something failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

pub(crate) struct Lane {
    pub(crate) runner: Runner,
    pub(crate) reader: Reader,
    pub(crate) board: Board,
    /// Reads that Redis refuses.
    pub(crate) refused: Trouble,
    pub(crate) concurrency: usize,
    pub(crate) drain: Duration,
}

impl Lane {
    /// Works until `shutdown`, then drains.
    pub(crate) async fn run(mut self, shutdown: Cancellation) {
        let mut working = JoinSet::new();
        // Read, and not yet claimed.
        let mut waiting = VecDeque::new();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            while working.try_join_next().is_some() {}
            let free = self.concurrency.saturating_sub(working.len()).min(BATCH);
            if free == 0 {
                tokio::select! {
                    _ = working.join_next() => {}
                    _ = shutdown.cancelled() => {}
                }
                continue;
            }
            let went_well = self.turn(free, &mut waiting, &mut working, &shutdown).await;
            failures = if went_well { 0 } else { failures + 1 };
            if failures > 0 {
                let pause = PAUSES.0.saturating_mul(1 << failures.min(10)).min(PAUSES.1);
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = shutdown.cancelled() => {}
                }
            }
        }
        self.give_back(waiting.into()).await;
        drain(&self.runner, working, self.drain).await;
    }

    /// One round: reads if there is nothing left to claim, then claims and delivers. Whether nothing failed is the answer.
    async fn turn(
        &mut self,
        free: usize,
        waiting: &mut VecDeque<Entry>,
        working: &mut JoinSet<()>,
        shutdown: &Cancellation,
    ) -> bool {
        if waiting.is_empty() {
            match self.read(free, waiting, shutdown).await {
                Ok(()) => self.refused.worked(),
                Err(error) => {
                    if is_the_commands_own(&error) {
                        self.refused.failed(&error);
                    } else {
                        tracing::debug!(target: "squidmesh", %error, "the streams could not be read; tried again shortly");
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

    /// Reads up to `free` entries. Some may be there even if it fails in the end.
    async fn read(
        &mut self,
        free: usize,
        waiting: &mut VecDeque<Entry>,
        shutdown: &Cancellation,
    ) -> redis::RedisResult<()> {
        // First, whatever there is to read: under a backlog every read brings as much as is wanted, and what the dead hold would
        // wait for its end.
        waiting.extend(self.reader.reclaim(free).await?);
        if waiting.len() < free {
            waiting.extend(self.reader.read(free - waiting.len()).await?);
        }
        if waiting.is_empty() {
            waiting.extend(self.reader.wait(shutdown).await?);
        }
        Ok(())
    }

    /// Tells what is due from what is not to be carried out here, and deals with the latter. Tells whether that went well.
    async fn sort(&self, batch: Vec<Entry>, working: &mut JoinSet<()>) -> (Vec<(Entry, IntentKey)>, bool) {
        let mut due = Vec::with_capacity(batch.len());
        let mut done = Ok(());
        for entry in batch {
            let dealt_with = match entry.content() {
                Content::Intent(key) => {
                    due.push((entry, key));
                    continue;
                }
                Content::Newer(version, payload) => self.reader.send_on(&entry, version, &payload).await,
                Content::Other(payload) => {
                    let settled = self.reader.settle(&[(&entry, String::new())]).await;
                    let runner = self.runner.clone();
                    working.spawn(async move { perform(&runner, &payload).await });
                    settled
                }
                Content::Malformed(reason, payload) => {
                    let parked = self.reader.park(&entry, &reason, &payload).await;
                    match &parked {
                        Ok(()) => {
                            tracing::warn!(target: "squidmesh", entry = entry.id, reason, "an entry is set aside among the dead letters");
                        }
                        Err(error) => {
                            tracing::debug!(target: "squidmesh", %error, "an entry could not be set aside; tried again later");
                        }
                    }
                    parked
                }
            };
            done = done.and(dealt_with);
        }
        (due, done.is_ok())
    }

    /// Claims, delivers and settles. Only if the store fails, nothing happened.
    async fn claim(&self, entries: &[(Entry, IntentKey)], working: &mut JoinSet<()>, shutdown: &Cancellation) -> bool {
        if entries.is_empty() {
            return true;
        }
        let keys: Vec<IntentKey> = entries.iter().map(|(_, key)| key.clone()).collect();
        let claims = match self.runner.take(&keys).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(target: "squidmesh", %error, "announced work could not be claimed; tried again shortly");
                return false;
            }
        };
        if shutdown.is_cancelled() {
            if let Err(error) = self.runner.release(claims).await {
                tracing::warn!(target: "squidmesh", %error, "claims could not be given back; their leases run out by themselves");
            }
            self.give_back(entries.iter().map(|(entry, _)| entry.clone()).collect()).await;
            return true;
        }
        for claim in claims {
            let runner = self.runner.clone();
            working.spawn(async move { drop(runner.deliver(claim).await) });
        }
        let settled: Vec<(&Entry, String)> = entries.iter().map(|(entry, key)| (entry, key.to_string())).collect();
        if let Err(error) = self.reader.settle(&settled).await {
            tracing::debug!(target: "squidmesh", %error, "entries could not be settled; they are read again, to no effect");
        }
        true
    }

    /// Lets others have what was read and not begun: as if it were announced anew.
    async fn give_back(&self, entries: Vec<Entry>) {
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
        let given = match self.reader.settle(&settled).await {
            Ok(()) => self.board.announce(&announcements).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = given {
            tracing::debug!(target: "squidmesh", %error, "entries could not be given back; a sweep announces them again");
        }
    }
}

/// Carries out what is no intent.
async fn perform(runner: &Runner, payload: &[u8]) {
    match runner.perform(payload).await {
        Ok(_) => {}
        Err(error @ PerformError::Store(_)) => {
            tracing::warn!(target: "squidmesh", %error, "an occurrence could not be started; the schedule starts it");
        }
        Err(error) => tracing::error!(target: "squidmesh", %error, "a delivery was refused"),
    }
}
