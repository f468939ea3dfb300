//! Carrying out a step and what follows it: begin, execute, record; the same loop for every hop.

use super::{Delivery, Runner};
use crate::engine::{self, Begin, GoOn, Outcome, Recorded, StepTask, UnitOfWork};
use crate::runtime::DecideError;
use crate::{InvalidTransition, Lease, Run, RunState, SkipReason, StepName};

/// What became of an outcome, and the run as it is then.
pub(super) type RecordedRun = Result<(Recorded, RunState), DecideError<InvalidTransition>>;

impl Runner {
    pub(super) async fn deliver_step(&self, lease: Lease, step: StepName, state: RunState) -> Delivery {
        let (run, jobs) = (state.run.clone(), &*self.runtime);
        let run_id = run.id;
        // From here to the end: a delivery that waits for a busy store must not lose its claim meanwhile.
        let mut held = self.leases.hold(&lease);
        let begun = self
            .runtime
            .decide(run_id, Some(state), self.persistence(), |work| {
                if self.may_drive(work.run()) {
                    engine::begin(work, &step, &lease, jobs)
                } else {
                    Ok(Begin::Skip(SkipReason::UnknownDefinition))
                }
            })
            .await;
        let (mut next, mut state) = match begun {
            Ok((Begin::Execute(task), state)) => (Some(task), state),
            Ok((Begin::Advanced, _)) => return Delivery::Done { steps: 1 },
            Ok((Begin::Skip(SkipReason::UnknownDefinition), state)) => {
                return self.leave(&lease, &state.run, Some(&step)).await;
            }
            Ok((Begin::Skip(reason), state)) => return self.skipped(&state.run, Some(&step), reason),
            Err(error) => return self.undecided(&run, Some(&step), error),
        };
        let mut steps = 0;
        while let Some(task) = next {
            if *held.lease() != task.lease {
                held = self.leases.hold(&task.lease);
            }
            let run = state.run.clone();
            let recorded = match self.transactional(&run, &task) {
                Some(handler) => self.carry_out_in_transaction(handler, state, &task, &held.cancellation).await,
                None => {
                    let outcome = self.execute(&run, &task, &held.cancellation).await;
                    self.record(state, &task, outcome).await
                }
            };
            match recorded {
                Ok((Recorded::Recorded { next: following }, after)) => {
                    steps += 1;
                    next = following;
                    state = after;
                }
                Ok((Recorded::Superseded, after)) => {
                    return self.skipped(&after.run, Some(&task.step), SkipReason::LeaseLost);
                }
                Err(error) => return self.undecided(&run, Some(&task.step), error),
            }
        }
        Delivery::Done { steps }
    }

    /// Records how an attempt went, in a commit of its own, and begins the successor in it.
    pub(super) async fn record(&self, state: RunState, task: &StepTask, outcome: Outcome) -> RecordedRun {
        let decision = |work: &mut UnitOfWork| {
            engine::record(work, task, outcome.clone(), self.go_on(work.run(), &task.lease), &*self.runtime)
        };
        self.runtime.decide(state.run.id, Some(state), self.persistence(), decision).await
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
