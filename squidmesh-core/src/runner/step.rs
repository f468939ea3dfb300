//! Carrying out a step and what follows it: begin, execute, record; the same loop for every hop.

use super::{Delivery, Runner};
use crate::engine::{self, Begin, GoOn, Outcome, Recorded, StepTask, UnitOfWork};
use std::sync::Arc;

use crate::runtime::{DecideError, HotRun};
use crate::{InvalidTransition, Lease, Run, SkipReason, StepName};

/// What became of an outcome, and the run as it is then.
pub(super) type RecordedRun = Result<(Recorded, Arc<Run>), DecideError<InvalidTransition>>;

impl Runner {
    pub(super) async fn deliver_step(&self, lease: Lease, step: StepName, hot: &HotRun<'_>) -> Delivery {
        let jobs = &*self.runtime;
        // From here to the end: a delivery that waits for a busy store must not lose its claim meanwhile.
        let mut held = self.leases.hold(&lease);
        let begun = self
            .runtime
            .decide_together(hot, self.persistence(), |work| {
                if self.may_drive(work.run()) {
                    engine::begin(work, &step, &lease, jobs)
                } else {
                    Ok(Begin::Skip(SkipReason::UnknownDefinition))
                }
            })
            .await;
        let (mut next, mut run) = match begun {
            Ok((Begin::Execute(task), run)) => (Some(task), run),
            Ok((Begin::Advanced, _)) => return Delivery::Done { steps: 1 },
            Ok((Begin::Skip(SkipReason::UnknownDefinition), run)) => {
                return self.leave(&lease, &run, Some(&step)).await;
            }
            Ok((Begin::Skip(reason), run)) => return self.skipped(&run, Some(&step), reason),
            Err(error) => return self.undecided(hot.id(), None, Some(&step), error).await,
        };
        let mut steps = 0;
        while let Some(task) = next {
            if *held.lease() != task.lease {
                held = self.leases.hold(&task.lease);
            }
            let recorded = match self.transactional(&run, &task) {
                Some(handler) => self.carry_out_in_transaction(handler, hot, &task, &held.cancellation).await,
                None => {
                    let outcome = self.execute(&run, &task, &held.cancellation).await;
                    self.record(hot, &task, outcome).await
                }
            };
            match recorded {
                Ok((Recorded::Recorded { next: following }, after)) => {
                    steps += 1;
                    next = following;
                    run = after;
                }
                Ok((Recorded::Superseded, after)) => {
                    return self.skipped(&after, Some(&task.step), SkipReason::LeaseLost);
                }
                Err(error) => return self.undecided(hot.id(), Some(&run), Some(&task.step), error).await,
            }
        }
        Delivery::Done { steps }
    }

    /// Records how an attempt went, in a commit of its own, and begins the successor in it.
    pub(super) async fn record(&self, hot: &HotRun<'_>, task: &StepTask, outcome: Outcome) -> RecordedRun {
        let decision = |work: &mut UnitOfWork| {
            engine::record(work, task, outcome.clone(), self.go_on(work.run(), &task.lease), &*self.runtime)
        };
        self.runtime.decide_together(hot, self.persistence(), decision).await
    }

    /// How this worker goes on with a successor; not at all while it drains, or if the run was adopted by a version that is not
    /// registered here.
    pub(super) fn go_on(&self, run: &Run, lease: &Lease) -> Option<GoOn<'_>> {
        (!self.draining.is_cancelled() && self.may_drive(run)).then(|| GoOn {
            token: lease.token,
            lease: self.runtime.config.lease,
            queues: &self.queues,
        })
    }
}
