//! Carrying out the compensation of a failed run: callback after callback, each recorded before the next begins.

use super::{Delivery, Runner};
use crate::engine::{self, BeginCompensation, Outcome, RecordedCompensation};
use crate::runtime::HotRun;
use crate::{InvalidTransition, Lease, SkipReason};

impl Runner {
    pub(super) async fn deliver_compensation(&self, lease: Lease, hot: &HotRun<'_>) -> Delivery {
        // From here to the end: a delivery that waits for a busy store must not lose its claim meanwhile.
        let held = self.leases.hold(&lease);
        let begin = |work: &mut engine::UnitOfWork| {
            Ok::<_, InvalidTransition>(if self.may_drive(work.run()) {
                engine::begin_compensation(work, &lease)
            } else {
                BeginCompensation::Skip(SkipReason::UnknownDefinition)
            })
        };
        let mut begun = self.runtime.decide_together(hot, self.persistence(), begin).await;
        let mut steps = 0;
        loop {
            let (task, run) = match begun {
                Ok((BeginCompensation::Execute(task), run)) => (task, run),
                Ok((BeginCompensation::Done | BeginCompensation::Later, _)) => return Delivery::Done { steps },
                Ok((BeginCompensation::Skip(SkipReason::UnknownDefinition), run)) => {
                    return self.leave(&lease, &run, None).await;
                }
                Ok((BeginCompensation::Skip(reason), run)) => return self.skipped(&run, None, reason),
                Err(error) => return self.undecided(hot.id(), None, None, error).await,
            };
            let outcome = self.execute_compensation(&run, &task, &held.cancellation).await;
            let interrupted = outcome == Outcome::Interrupted;
            begun = self
                .runtime
                .decide_together(hot, self.persistence(), |work| {
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
