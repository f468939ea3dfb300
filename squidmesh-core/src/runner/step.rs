//! Delivering a step and its successors: begin, execute, record, in the same loop for every step.

use std::sync::Arc;

use super::outcome::{DeliveryOutcome, tried};
use super::shared::Runner;
use crate::engine::{self, Begin, RecordOutcome, StepTask};
use crate::event::IgnoreReason;
use crate::name::StepName;
use crate::run::Run;
use crate::runtime::{CachedRun, Held};

impl Runner {
    /// Begins a claimed step, and executes it.
    pub(super) async fn deliver_step(&self, held: Held, step: StepName, cached: &CachedRun) -> DeliveryOutcome {
        let (jobs, lease) = (&*self.runtime, held.lease().clone());
        let begun = self
            .runtime
            .decide_in_group(cached, self.retry_time(), |work| {
                let begin = if self.may_continue(work.run()) {
                    engine::begin(work, &step, &lease, jobs)?
                } else {
                    Begin::Skip(IgnoreReason::UnknownDefinition)
                };
                let skipped = matches!(begin, Begin::Skip(_));
                let seen = if skipped { tried(work.state(), Some(&step), work.now()) } else { None };
                Ok((begin, seen))
            })
            .await;
        match begun {
            Ok(((Begin::Execute(task), _), run)) => self.execute_begun(held, task, run, cached).await,
            Ok(((Begin::Advanced, _), _)) => DeliveryOutcome::Done { steps: 1 },
            Ok(((Begin::Skip(IgnoreReason::UnknownDefinition), _), run)) => {
                self.release_unregistered(&lease, &run, Some(&step)).await
            }
            Ok(((Begin::Skip(reason), seen), run)) => self.ignore(&run, Some(&step), seen, reason),
            Err(error) => self.outcome_of(cached.id(), None, Some(&step), None, error).await,
        }
    }

    /// Executes a step that was begun, and then its successors.
    pub(super) async fn execute_begun(
        &self,
        held: Held,
        task: StepTask,
        mut run: Arc<Run>,
        cached: &CachedRun,
    ) -> DeliveryOutcome {
        let (mut held, mut next, mut steps) = (Arc::new(held), Some(task), 0);
        while let Some(task) = next {
            let began = self.runtime.clock.now();
            if *held.lease() != task.lease {
                held = Arc::new(held.follow(&task.lease));
            }
            let recorded = match self.transactional(&run, &task) {
                Some(handler) => self.execute_in_transaction(handler, cached, &task, &held).await,
                None => {
                    let outcome = self.execute(&run, &task, &held.cancellation).await;
                    self.record(cached, &task, outcome, &held, Vec::new()).await
                }
            };
            match recorded {
                Ok((RecordOutcome::Recorded { next: following }, after)) => {
                    steps += 1;
                    next = following;
                    run = after;
                }
                Ok((RecordOutcome::Superseded, after)) => {
                    let seen = Some((task.attempt, self.runtime.clock.now().since(began)));
                    return self.ignore(&after, Some(&task.step), seen, IgnoreReason::LeaseLost);
                }
                Err(error) => {
                    let seen = Some((task.attempt, self.runtime.clock.now().since(began)));
                    return self.outcome_of(cached.id(), Some(&run), Some(&task.step), seen, error).await;
                }
            }
        }
        DeliveryOutcome::Done { steps }
    }
}
