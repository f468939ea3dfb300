//! Delivering the compensation of a failed run: one callback after another, each recorded before the next begins.

use super::outcome::DeliveryOutcome;
use super::shared::Runner;
use crate::definition::Priority;
use crate::engine::{self, BeginCompensation, Outcome, RecordedCompensation};
use crate::event::IgnoreReason;
use crate::run::InvalidTransition;
use crate::runtime::{CachedRun, Held};

impl Runner {
    pub(super) async fn deliver_compensation(&self, mut held: Held, cached: &CachedRun) -> DeliveryOutcome {
        let lease = held.lease().clone();
        let begin = |work: &mut engine::UnitOfWork| {
            Ok::<_, InvalidTransition>(if self.may_continue(work.run()) {
                engine::begin_compensation(work, &lease)
            } else {
                BeginCompensation::Skip(IgnoreReason::UnknownDefinition)
            })
        };
        // Like a step's successor, the next callback is left to others while an intent comes before it or this worker
        // drains.
        let continues = || self.lowest_priority().is_some_and(|lowest| Priority::Normal <= lowest);
        let mut begun = self.runtime.decide_in_group(cached, self.retry_time(), begin).await;
        let mut steps = 0;
        loop {
            let (task, run) = match begun {
                Ok((BeginCompensation::Execute(task), run)) => (task, run),
                Ok((BeginCompensation::Done | BeginCompensation::Later, _)) => return DeliveryOutcome::Done { steps },
                Ok((BeginCompensation::Skip(IgnoreReason::UnknownDefinition), run)) => {
                    return self.release_unregistered(&lease, &run, None).await;
                }
                Ok((BeginCompensation::Skip(reason), run)) => return self.ignore(&run, None, None, reason),
                Err(error) => return self.outcome_of(cached.id(), None, None, None, error).await,
            };
            if steps > 0 {
                held.renew();
            }
            let outcome = self.execute_compensation(&run, &task, &held.cancellation).await;
            let interrupted = outcome == Outcome::Interrupted;
            begun = self
                .runtime
                .decide_in_group(cached, self.retry_time(), |work| {
                    Ok::<_, InvalidTransition>(match engine::record_compensation(work, &task, outcome.clone())? {
                        RecordedCompensation::Ended if continues() => begin(work)?,
                        RecordedCompensation::Ended => engine::leave_compensation(work, &lease),
                        RecordedCompensation::Rescheduled => BeginCompensation::Later,
                        // By an earlier try, whose answer was lost, or by a worker that has taken over: then this claim
                        // is fenced.
                        RecordedCompensation::Superseded => begin(work)?,
                    })
                })
                .await;
            steps += usize::from(!interrupted);
        }
    }
}
