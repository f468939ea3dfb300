//! Delivering by hand, one by one, in an order that is the same every time.

use std::time::Duration;

use super::MemoryExecutor;
use crate::{Delivery, Runner, Squidmesh, StoreError};

/// How many deliveries are enough to say that a test's workflows do not come to rest.
pub(super) const RESTLESS: usize = 100_000;

/// Why work was not delivered to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// The store failed, or the run of a delivery could not be read. What was not delivered is still there.
    #[error("a delivery failed: {0}")]
    Store(#[from] StoreError),
    /// There is always something more to do.
    #[error("after {deliveries} deliveries there was still more: does a workflow go round in circles?")]
    Restless {
        /// How many deliveries were made.
        deliveries: usize,
    },
}

impl MemoryExecutor {
    /// Delivers everything that is due, one by one, and says how many deliveries it took. What falls due later stays where
    /// it is. Occurrences of cron triggers are fired as well; a trigger that nobody has looked at before begins with the first
    /// call, so drain once before the clock is moved to its first occurrence.
    ///
    /// A handler that waits for the clock waits for the test: to see a timeout, move the clock beside this future.
    ///
    /// # Errors
    /// [`DrainError`] at the first delivery that fails.
    pub async fn drain(&self, mesh: &Squidmesh) -> Result<usize, DrainError> {
        let runner = mesh.runner();
        let mut deliveries = 0;
        while let Next::Delivered = deliver_one(&runner, &mut deliveries).await? {}
        Ok(deliveries)
    }

    /// Delivers everything that is due, then moves the clock to the next due time and goes on, until nothing is scheduled any
    /// more: waits, delays and backoffs pass in no time. Cron triggers fire as time passes, but no time passes for their sake.
    /// Says how many deliveries it took.
    ///
    /// # Errors
    /// [`DrainError`] at the first delivery that fails.
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

/// What there is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Something was delivered: look again.
    Delivered,
    /// Something falls due after this time.
    Due(Duration),
    /// Nothing is scheduled.
    Nothing,
}

/// Delivers what is due first, if anything is, and counts it.
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
        // A schedule alone never comes to rest. While there is other work, its occurrences come in their turn.
        let Some(due) = found.next_in else { return Ok(Next::Nothing) };
        return Ok(Next::Due(fired.next_in.map_or(due, |next| next.min(due))));
    };
    match runner.deliver(claim).await {
        Delivery::Failed(error) => Err(error.into()),
        Delivery::Done { .. } | Delivery::Skipped(_) => {
            *deliveries += 1;
            Ok(Next::Delivered)
        }
    }
}
