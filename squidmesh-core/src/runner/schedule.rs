//! Firing due cron triggers.
//!
//! Every process may do this. The run of an occurrence is started under a key made of the trigger and the intended
//! time, which the store accepts once; only then does the trigger's position advance, by compare-and-set. A process
//! that dies between the two leaves an occurrence that others try again and find started. No process waits for
//! another, and none leads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Map;

use super::shared::Runner;
use crate::dispatch::Refusal;
use crate::engine::DispatchRefused;
use crate::name::{TriggerName, WorkflowName};
use crate::port::{StoreError, TriggerRecords};
use crate::runtime::{Runtime, Scheduled, StartError, StartRun, occurrence_key};
use crate::schedule::{Plan, TriggerEvent, TriggerEventKind, TriggerRecord, advance, plan};
use crate::time::Timestamp;

/// The longest time between two checks of the triggers: another process may have resumed one.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The delay before a failed check or start is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The number of occurrences of one trigger to start before its position is written.
const BATCH: usize = 64;
/// The number of triggers to process concurrently.
const MAX_CONCURRENT: usize = 16;

/// The result of firing the due cron triggers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FireSummary {
    /// The number of runs started.
    pub runs: usize,
    /// How long until there is something to do again; `None` if no trigger will ever fire, for example because all
    /// are paused.
    pub next_in: Option<Duration>,
}

impl Runner {
    /// Starts the runs of all due occurrences of the cron triggers registered here, once each however many processes
    /// do this, and applies the triggers' policies to missed occurrences. A trigger without a stored record starts
    /// now. Of a long backlog, a part is started, and `next_in` is zero.
    ///
    /// An occurrence whose run is refused permanently, for example because its first step cannot be routed, is logged
    /// as an error and skipped. An occurrence that could not be started for the moment is retried.
    ///
    /// # Errors
    /// [`StoreError`]: the triggers could not be read.
    pub async fn fire_due(&self) -> Result<FireSummary, StoreError> {
        let schedules = &self.runtime.schedules;
        if schedules.is_empty() {
            return Ok(FireSummary::default());
        }
        let found = self.runtime.trigger_records().await?;
        let checks = schedules.iter().map(|scheduled| self.fire(scheduled, &found).boxed()).collect::<Vec<_>>();
        let fired = stream::iter(checks).buffer_unordered(MAX_CONCURRENT).collect::<Vec<FireSummary>>().await;
        Ok(FireSummary {
            runs: fired.iter().map(|fired| fired.runs).sum(),
            next_in: fired.iter().filter_map(|fired| fired.next_in).min(),
        })
    }

    /// Keeps firing due triggers until this runner or a clone of it drains; without cron triggers, does nothing.
    /// Checks when the next occurrence is due, when this process resumes a trigger, and every 10 seconds.
    /// [`Squidmesh::run_workers`](crate::Squidmesh::run_workers) runs this itself; a host that drives
    /// [`perform`](Runner::perform) from a queue of its own runs it alongside.
    pub async fn run_scheduler(&self) {
        if self.runtime.schedules.is_empty() {
            return;
        }
        while !self.draining.is_cancelled() {
            // Listen first, then check: a change between the two is not missed.
            let changed = self.runtime.trigger_changed.listen();
            let wait = match self.fire_due().await {
                Ok(fired) => fired.next_in.map_or(MAX_PAUSE, |next| next.min(MAX_PAUSE)),
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %error, "cron triggers could not be read; retried in one second");
                    RETRY_DELAY
                }
            };
            let drained = async {
                self.draining.cancelled().await;
            };
            select_all([self.runtime.clock.sleep(wait), changed.boxed(), drained.boxed()]).await;
        }
    }

    /// Fires the due occurrences of one trigger.
    async fn fire(&self, scheduled: &Scheduled, found: &TriggerRecords) -> FireSummary {
        let (workflow, trigger) = (&scheduled.workflow, &scheduled.trigger);
        let record = match found.of(workflow.as_str(), trigger.as_str()) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(target: "squidmesh", %workflow, %trigger, %error, "a cron trigger cannot be read, and does not fire");
                return FireSummary::default();
            }
        };
        let now = found.now;
        let plan = plan(&scheduled.schedule, scheduled.missed, record, now, BATCH);
        let starts = plan.due.iter().map(|time| occur(&self.runtime, workflow, trigger, *time));
        let (mut runs, mut position) = (0, plan.position);
        for (index, start) in join_all(starts).await.into_iter().enumerate() {
            let time = plan.due.get(index);
            match start {
                Ok(started) => runs += usize::from(started),
                Err(error) if is_final(&error) => {
                    let intended_at = time.map(ToString::to_string).unwrap_or_default();
                    tracing::error!(target: "squidmesh", %workflow, %trigger, intended_at, %error, "an occurrence of a cron trigger was refused and is skipped");
                }
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %workflow, %trigger, %error, "an occurrence of a cron trigger could not be started; retried in one second");
                    // The occurrences before this one are settled; this one and the following are found again,
                    // started or not.
                    position = index.checked_sub(1).and_then(|before| plan.due.get(before)).copied();
                    let _ = self.moved(scheduled, record, &plan, position, now).await;
                    return FireSummary { runs, next_in: Some(RETRY_DELAY) };
                }
            }
        }
        let next_in = match self.moved(scheduled, record, &plan, position, now).await {
            Ok(true) => plan.next.map(|next| next.since(now)),
            Ok(false) => Some(Duration::ZERO), // another process was faster: see what it left
            Err(error) => {
                tracing::warn!(target: "squidmesh", %workflow, %trigger, %error, "the position of a cron trigger could not be written; retried in one second");
                Some(RETRY_DELAY)
            }
        };
        FireSummary { runs, next_in }
    }

    /// Advances a trigger's position, unless it was changed since it was read. The process that advances it emits the
    /// events of the check.
    async fn moved(
        &self,
        scheduled: &Scheduled,
        record: Option<&TriggerRecord>,
        plan: &Plan,
        position: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(position) = position else { return Ok(true) };
        let mut record = scheduled.record(record);
        if let Some(ahead) = plan.ahead {
            record.notes.ahead.insert(scheduled.schedule.to_string(), ahead);
        }
        if let Some(missed) = &plan.missed {
            record.notes.missed = Some(missed.clone());
        }
        advance(&mut record, &scheduled.schedule, position, now);
        record.revision += 1;
        if !self.runtime.store.compare_and_set_trigger(&record).await? {
            return Ok(false);
        }
        let went_back = plan.ahead.map(|position| TriggerEventKind::ClockWentBack { position });
        let missed = plan.missed.clone();
        let missed = missed.map(|missed| TriggerEventKind::OccurrencesMissed { missed, policy: scheduled.missed });
        for kind in went_back.into_iter().chain(missed) {
            let (workflow, trigger) = (scheduled.workflow.clone(), scheduled.trigger.clone());
            self.runtime.announce_trigger(&TriggerEvent::new(workflow, trigger, now, kind));
        }
        Ok(true)
    }
}

/// Starts the run of an occurrence, unless it was started before.
pub(super) async fn occur(
    runtime: &Arc<Runtime>,
    workflow: &WorkflowName,
    trigger: &TriggerName,
    intended_at: Timestamp,
) -> Result<bool, StartError> {
    StartRun::new(runtime.clone(), workflow.as_str(), &Map::new())
        .trigger(trigger.as_str())
        .own_key(Some(occurrence_key(trigger, intended_at)))
        .intended_at(Some(intended_at))
        .start_unless_taken()
        .await
}

/// Returns whether retrying would give the same result.
fn is_final(error: &StartError) -> bool {
    !matches!(
        error,
        StartError::Store(_)
            | StartError::Conflict(_)
            | StartError::Refused(DispatchRefused::ByExecutor(Refusal::Unavailable { .. }))
    )
}
