//! Carrying out the compensation of a failed run: callback after callback, each recorded before the next begins.

use std::time::Duration;

use super::{Delivery, Runner};
use crate::engine::{self, BeginCompensation};
use crate::{InvalidTransition, Lease, RunState, SkipReason};

impl Runner {
    pub(super) async fn deliver_compensation(&self, lease: Lease, state: RunState) -> Delivery {
        let run = state.run.clone();
        let run_id = run.id;
        // From here to the end: a delivery that waits for a busy store must not lose its claim meanwhile.
        let held = self.leases.hold(&lease);
        let begin =
            |work: &mut engine::UnitOfWork| Ok::<_, InvalidTransition>(engine::begin_compensation(work, &lease));
        let mut begun = self.runtime.decide(run_id, Some(state), self.persistence(), begin).await;
        let mut steps = 0;
        loop {
            let (task, state) = match begun {
                Ok((BeginCompensation::Execute(task), state)) => (task, state),
                Ok((BeginCompensation::Done, _)) => return Delivery::Done { steps },
                Ok((BeginCompensation::Skip(reason), state)) => return self.skipped(&state.run, None, reason),
                Err(error) => return self.undecided(&run, None, error),
            };
            let Some(result) = self.execute_compensation(&state.run, &task, &held.cancellation).await else {
                // Left to the next worker, which finds the callback begun and under no living claim.
                let released = self.runtime.store.release(std::slice::from_ref(&lease), Duration::ZERO).await;
                return released.map_or_else(Delivery::Failed, |()| Delivery::Done { steps });
            };
            begun = self
                .runtime
                .decide(run_id, Some(state), self.persistence(), |work| {
                    if engine::record_compensation(work, &task, result.clone())? {
                        Ok::<_, InvalidTransition>(engine::begin_compensation(work, &lease))
                    } else {
                        Ok(BeginCompensation::Skip(SkipReason::LeaseLost))
                    }
                })
                .await;
            steps += 1;
        }
    }
}
