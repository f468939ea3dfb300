//! Heartbeats: extend the leases of everything that this process executes, as long as it lives.
//!
//! Executors run this on a thread of its own, so that handlers that block the host's threads do not make the process
//! look dead. Notifies handlers of what became of their leases and runs, and logs the reason when a heartbeat is
//! late.

use std::time::Duration;

use futures_util::future::{Either, select};

use super::shared::Runner;
use crate::cancellation::Cancellation;
use crate::dispatch::Lease;
use crate::port::{Heartbeats, LeaseState, StoreError};
use crate::runtime::Runtime;

/// The maximum number of leases to extend in one call to the store.
const BATCH: usize = 500;
/// The number of retries of a failed heartbeat before the next one is due.
const RETRIES: u32 = 10;

impl Runner {
    /// Extends the leases of everything that this runtime executes, until the future is dropped.
    /// [`Squidmesh::run_workers`](crate::Squidmesh::run_workers) runs this through
    /// [`Executor::run_heartbeats`](crate::port::Executor::run_heartbeats); a host that drives [`perform`](Runner::perform)
    /// from a queue of its own runs it alongside, best on a thread that no handler blocks.
    pub async fn run_heartbeats(&self) {
        self.run_heartbeats_until(&Cancellation::new()).await;
    }

    /// Does the same as [`run_heartbeats`](Runner::run_heartbeats), until `stop` is cancelled. Awaits a call to the
    /// store that is in progress then.
    pub async fn run_heartbeats_until(&self, stop: &Cancellation) {
        Beats::new(&self.runtime).run(stop).await;
    }

    /// Records, until the future is dropped, that the async runtime that polls it is running: spawn it there when
    /// [`run_heartbeats`](Runner::run_heartbeats) runs elsewhere. Once this has stopped, leases are extended for
    /// [`Config::stalled_after`](crate::Config::stalled_after).
    pub async fn keep_pulse(&self) {
        let runtime = &self.runtime;
        loop {
            runtime.leases.beat_pulse();
            runtime.clock.sleep(runtime.config.heartbeat / 2).await;
        }
    }
}

/// The heartbeats of a runtime.
struct Beats<'a> {
    runtime: &'a Runtime,
    /// The dedicated connection that extends leases; `None` if the store itself does.
    line: Option<Box<dyn Heartbeats>>,
    /// Whether `line` is up to date: the store has opened a connection, or returned that it has none.
    opened: bool,
    host: Host,
}

/// The observed activity of the host's async runtime.
#[derive(Default)]
struct Host {
    /// The last observed pulse. 0 if nothing keeps one.
    pulse: u64,
    /// How long the pulse has not changed.
    still: Duration,
    /// How long the pulse must be unchanged for the next warning.
    logged: Duration,
}

impl<'a> Beats<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        Beats { runtime, line: None, opened: false, host: Host::default() }
    }

    async fn run(mut self, stop: &Cancellation) {
        let Runtime { clock, config, contact, .. } = self.runtime;
        let every = config.heartbeat;
        contact.start();
        let (mut wait, mut last) = (every, clock.now());
        loop {
            if let Either::Right(_) = select(clock.sleep(wait), Box::pin(stop.cancelled())).await {
                return;
            }
            let began = clock.now();
            self.watch_host(wait);
            match self.beat().await {
                Ok(()) => {
                    let now = clock.now();
                    log_late(now.since(last), every, began.since(last), now.since(began), wait);
                    if contact.regained(began, now) {
                        tracing::warn!(
                            target: "squidmesh",
                            lost_for = ?now.since(last),
                            "contact with the store is restored: expired leases of other processes are not taken over for one heartbeat"
                        );
                    }
                    (wait, last) = (every, now);
                }
                Err(error) => {
                    tracing::warn!(
                        target: "squidmesh",
                        %error,
                        since = ?clock.now().since(last),
                        "leases could not be extended; the heartbeat is retried shortly"
                    );
                    wait = every / RETRIES;
                }
            }
        }
    }

    /// Extends every held lease, and notifies handlers of the results.
    async fn beat(&mut self) -> Result<(), StoreError> {
        let leases = &self.runtime.leases;
        let stalled = self.host.still >= self.stalled_after();
        let held = if stalled { Vec::new() } else { leases.held() };
        if held.is_empty() {
            self.extend(&[]).await?;
        }
        let mut failed = None;
        for batch in held.chunks(BATCH) {
            let wanted: Vec<Lease> = batch.iter().map(|(lease, _)| lease.clone()).collect();
            match self.extend(&wanted).await {
                Ok(states) => self.runtime.leases.extended(batch, &states),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Extends over the heartbeats' own connection or, while there is none, as every other call reaches the store.
    async fn extend(&mut self, leases: &[Lease]) -> Result<Vec<LeaseState>, StoreError> {
        let lease = self.runtime.config.lease;
        if !self.opened {
            match self.runtime.store.heartbeats().await {
                Ok(line) => (self.line, self.opened) = (line, true),
                Err(error) => {
                    tracing::debug!(target: "squidmesh", %error, "the connection for heartbeats could not be opened");
                }
            }
        }
        if let Some(line) = &self.line {
            match line.extend_leases(leases, lease).await {
                Ok(states) => return Ok(states),
                Err(error) => {
                    tracing::debug!(target: "squidmesh", %error, "the connection for heartbeats failed; it is opened again");
                    (self.line, self.opened) = (None, false);
                }
            }
        }
        self.runtime.store.extend_leases(leases, lease).await
    }

    /// Returns how long the host's async runtime may stand still; at least one lease.
    fn stalled_after(&self) -> Duration {
        self.runtime.config.stalled_after.max(self.runtime.config.lease)
    }

    /// Checks whether the host's async runtime has run since the last check.
    fn watch_host(&mut self, waited: Duration) {
        let (stalled_after, lease) = (self.stalled_after(), self.runtime.config.lease);
        let Host { pulse, still, logged } = &mut self.host;
        let seen = self.runtime.leases.pulse();
        if seen == 0 || seen != *pulse {
            if *still >= stalled_after {
                tracing::warn!(target: "squidmesh", "the host's async runtime runs again: its leases are extended");
            }
            (*pulse, *still, *logged) = (seen, Duration::ZERO, lease);
            return;
        }
        let before = *still;
        *still += waited;
        if before < stalled_after && *still >= stalled_after {
            tracing::error!(
                target: "squidmesh",
                still = ?*still,
                "the host's async runtime does not run: its leases are no longer extended, and other processes take over its work"
            );
        } else if *still >= *logged && *still < stalled_after {
            *logged += lease;
            tracing::warn!(
                target: "squidmesh",
                still = ?*still,
                until = ?stalled_after,
                "the host's async runtime does not run, and no outcome is recorded: do handlers block its threads? use spawn_blocking; \
                 its leases are extended until then"
            );
        }
    }
}

/// Logs a heartbeat that succeeded late, with the reason.
fn log_late(since: Duration, every: Duration, until_begun: Duration, call: Duration, waited: Duration) {
    // A preceding failure is logged already.
    if waited < every || since <= every + every / 2 {
        return;
    }
    let reason = if call > every / 2 {
        "the store took long to answer, or its write lock was held"
    } else {
        "its thread was not scheduled, or the clock was set"
    };
    tracing::warn!(target: "squidmesh", ?since, ?until_begun, ?call, reason, "a heartbeat was late");
}
