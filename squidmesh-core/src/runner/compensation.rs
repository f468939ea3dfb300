//! Carrying out the compensation of a failed run: callback after callback, each recorded before the next begins.

use super::{Delivery, Runner};
use crate::engine::{self, BeginCompensation, Outcome, RecordedCompensation};
use crate::{InvalidTransition, Lease, RunState, SkipReason};

impl Runner {
    pub(super) async fn deliver_compensation(&self, lease: Lease, state: RunState) -> Delivery {
        let run = state.run.clone();
        let run_id = run.id;
        // From here to the end: a delivery that waits for a busy store must not lose its claim meanwhile.
        let held = self.leases.hold(&lease);
        let begin = |work: &mut engine::UnitOfWork| {
            Ok::<_, InvalidTransition>(if self.may_drive(work.run()) {
                engine::begin_compensation(work, &lease)
            } else {
                BeginCompensation::Skip(SkipReason::UnknownDefinition)
            })
        };
        let mut begun = self.runtime.decide(run_id, Some(state), self.persistence(), begin).await;
        let mut steps = 0;
        loop {
            let (task, state) = match begun {
                Ok((BeginCompensation::Execute(task), state)) => (task, state),
                Ok((BeginCompensation::Done | BeginCompensation::Later, _)) => return Delivery::Done { steps },
                Ok((BeginCompensation::Skip(SkipReason::UnknownDefinition), state)) => {
                    return self.leave(&lease, &state.run, None).await;
                }
                Ok((BeginCompensation::Skip(reason), state)) => return self.skipped(&state.run, None, reason),
                Err(error) => return self.undecided(&run, None, error),
            };
            let outcome = self.execute_compensation(&state.run, &task, &held.cancellation).await;
            let interrupted = outcome == Outcome::Interrupted;
            begun = self
                .runtime
                .decide(run_id, Some(state), self.persistence(), |work| {
                    Ok::<_, InvalidTransition>(match engine::record_compensation(work, &task, outcome.clone())? {
                        RecordedCompensation::Ended => begin(work)?,
                        RecordedCompensation::PutOff => BeginCompensation::Later,
                        RecordedCompensation::Superseded => BeginCompensation::Skip(SkipReason::LeaseLost),
                    })
                })
                .await;
            steps += usize::from(!interrupted);
        }
    }
}
