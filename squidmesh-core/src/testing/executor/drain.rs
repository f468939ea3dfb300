//! Delivery by hand, one by one, in an order that is the same every time.

use std::time::Duration;

use super::MemoryExecutor;
use crate::chain::debug_as_text;
use crate::facade::Squidmesh;
use crate::port::StoreError;
use crate::runner::{DeliveryOutcome, Runner};

/// The number of deliveries after which a test's workflows are considered never to finish.
pub(super) const RESTLESS: usize = 100_000;

/// Why draining stopped before all work was delivered.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// The store failed, or the run of a delivery could not be read. Undelivered work stays in the store.
    #[error("a delivery failed: {0}")]
    Store(#[from] StoreError),
    /// There was still work to deliver after the maximum number of deliveries.
    #[error("after {deliveries} deliveries there was still more: does a workflow go round in circles?")]
    Restless {
        /// The number of deliveries made.
        deliveries: usize,
    },
}

debug_as_text!(DrainError);

impl MemoryExecutor {
    /// Delivers all due work, one by one, and returns the number of deliveries. Work that becomes due later stays in
    /// the store. Occurrences of cron triggers are fired as well; a trigger that was never checked before begins with
    /// the first call, so drain once before the clock is moved to its first occurrence.
    ///
    /// A handler that waits for the clock waits for the test: to see a timeout, move the clock beside this future.
    ///
    /// # Errors
    /// Returns a [`DrainError`] at the first delivery that fails.
    pub async fn drain(&self, mesh: &Squidmesh) -> Result<usize, DrainError> {
        let runner = mesh.runner();
        let mut deliveries = 0;
        while let Next::Delivered = deliver_one(&runner, &mut deliveries).await? {}
        Ok(deliveries)
    }

    /// Delivers all due work, moves the clock to the next due time, whether of a wait, a delay, a backoff or a
    /// deadline, and delivers what is due then. Returns by how much the clock was moved, and `None` if no work is
    /// scheduled.
    ///
    /// # Errors
    /// Returns a [`DrainError`] at the first delivery that fails.
    pub async fn run_to_next_timer(&self, mesh: &Squidmesh) -> Result<Option<Duration>, DrainError> {
        let runner = mesh.runner();
        let mut deliveries = 0;
        let after = loop {
            match deliver_one(&runner, &mut deliveries).await? {
                Next::Delivered => {}
                Next::Due(after) => break after,
                Next::Nothing => return Ok(None),
            }
        };
        self.shared.clock.advance(after);
        while let Next::Delivered = deliver_one(&runner, &mut deliveries).await? {}
        Ok(Some(after))
    }

    /// Delivers all due work, then moves the clock to the next due time and repeats, until no work is scheduled:
    /// waits, delays and backoffs take no real time. Cron triggers fire as the clock moves, but the clock is never
    /// moved for them alone. Returns the number of deliveries.
    ///
    /// # Errors
    /// Returns a [`DrainError`] at the first delivery that fails.
    pub async fn run_to_rest(&self, mesh: &Squidmesh) -> Result<usize, DrainError> {
        let runner = mesh.runner();
        let mut deliveries = 0;
        loop {
            match deliver_one(&runner, &mut deliveries).await? {
                Next::Delivered => {}
                Next::Due(after) => self.shared.clock.advance(after),
                Next::Nothing => return Ok(deliveries),
            }
        }
    }
}

/// The next thing to do.
#[derive(Debug)]
pub(super) enum Next {
    /// An intent was delivered: check again.
    Delivered,
    /// Work becomes due after this time.
    Due(Duration),
    /// No work is scheduled.
    Nothing,
}

/// Delivers the first due intent, if there is one, and counts it.
pub(super) async fn deliver_one(runner: &Runner, deliveries: &mut usize) -> Result<Next, DrainError> {
    if *deliveries >= RESTLESS {
        return Err(DrainError::Restless { deliveries: *deliveries });
    }
    let mut found = runner.claim(1).await?;
    let Some(claim) = found.claims.pop() else {
        let fired = runner.fire_due().await?;
        if fired.runs > 0 {
            return Ok(Next::Delivered);
        }
        // A schedule alone never comes to rest. While there is other work, its occurrences fire in their turn.
        let Some(due) = found.next_in else { return Ok(Next::Nothing) };
        return Ok(Next::Due(fired.next_in.map_or(due, |next| next.min(due))));
    };
    match runner.deliver(claim).await {
        DeliveryOutcome::Failed(error) => Err(error.into()),
        DeliveryOutcome::Done { .. } | DeliveryOutcome::Ignored(_) => {
            *deliveries += 1;
            Ok(Next::Delivered)
        }
    }
}
