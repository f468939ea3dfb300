//! Firing what cron triggers have due.
//!
//! Every process may do it. An occurrence's run is started under a key made of the trigger and the intended time, which the
//! store takes once; only then does the trigger's position move on, by compare-and-set. Whoever dies between the two leaves an
//! occurrence that others try again and find started. Nobody waits for anybody, and nobody leads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Map;

use super::Runner;
use crate::runtime::{Runtime, Scheduled};
use crate::schedule::{advance, plan};
use crate::{
    DispatchError, Refusal, Squidmesh, StartError, StoreError, Timestamp, TriggerName, TriggerRecord, TriggerRecords,
    WorkflowName,
};

/// How long until the triggers are looked at again whatever they say: another process may have resumed one.
const LOOK: Duration = Duration::from_secs(10);
/// How long before what could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many occurrences of one trigger are started before its position is written.
const BATCH: usize = 64;
/// How many triggers are looked after at once.
const AT_ONCE: usize = 16;

/// What a look at the cron triggers led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fired {
    /// How many runs were started.
    pub runs: usize,
    /// How long until there is something to do again; `None` if no trigger will ever fire, such as when all are paused.
    pub next_in: Option<Duration>,
}

impl Runner {
    /// Starts the runs of all occurrences that are due of the cron triggers registered here, once each however many processes do
    /// this, and applies the triggers' policies to those that were missed. A trigger that nobody has looked at before begins
    /// now. Of a long backlog a part is started, and `next_in` is zero.
    ///
    /// An occurrence whose run is refused for good, such as because its first step cannot be routed, is logged as an error and
    /// left out. One that could not be started just now is tried again.
    ///
    /// # Errors
    /// [`StoreError`]: the triggers could not be read.
    pub async fn fire_due(&self) -> Result<Fired, StoreError> {
        let schedules = &self.runtime.schedules;
        if schedules.is_empty() {
            return Ok(Fired::default());
        }
        let mut workflows: Vec<WorkflowName> = schedules.iter().map(|scheduled| scheduled.workflow.clone()).collect();
        workflows.dedup();
        match self.fire_of(&workflows).await {
            Err(StoreError::Corrupt { .. }) if workflows.len() > 1 => {}
            fired => return fired,
        }
        // What is kept of one workflow's triggers cannot be read: the others fire all the same.
        let mut all = Fired::default();
        for workflow in &workflows {
            match self.fire_of(std::slice::from_ref(workflow)).await {
                Ok(fired) => {
                    all.runs += fired.runs;
                    all.next_in = all.next_in.into_iter().chain(fired.next_in).min();
                }
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(target: "squidmesh", %workflow, %error, "the cron triggers of a workflow cannot be read, and do not fire");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Fires what the triggers of these workflows have due.
    async fn fire_of(&self, workflows: &[WorkflowName]) -> Result<Fired, StoreError> {
        let found = self.runtime.store.triggers(workflows).await?;
        let mut looks = Vec::new();
        for scheduled in self.runtime.schedules.iter().filter(|scheduled| workflows.contains(&scheduled.workflow)) {
            looks.push(self.fire(scheduled, &found).boxed());
        }
        let fired = stream::iter(looks).buffer_unordered(AT_ONCE).collect::<Vec<Fired>>().await;
        Ok(Fired {
            runs: fired.iter().map(|fired| fired.runs).sum(),
            next_in: fired.iter().filter_map(|fired| fired.next_in).min(),
        })
    }

    /// Keeps firing what is due, until this runner or a clone of it drains; with no cron trigger, does nothing. It looks when
    /// the next occurrence is due, when this process resumes a trigger, and every 10 seconds.
    /// [`Squidmesh::run_workers`](crate::Squidmesh::run_workers) does this by itself; a host that drives
    /// [`perform`](Runner::perform) from a queue of its own runs it beside.
    pub async fn keep_schedules(&self) {
        if self.runtime.schedules.is_empty() {
            return;
        }
        while !self.draining.is_cancelled() {
            // Listen first, look after: what changes between the two is not missed.
            let changed = self.runtime.trigger_changed.listen();
            let wait = match self.fire_due().await {
                Ok(fired) => fired.next_in.map_or(LOOK, |next| next.min(LOOK)),
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %error, "cron triggers could not be read; tried again in a second");
                    AGAIN
                }
            };
            let drained = async {
                self.draining.cancelled().await;
            };
            select_all([self.runtime.clock.sleep(wait), changed.boxed(), drained.boxed()]).await;
        }
    }

    /// Fires what one trigger has due.
    async fn fire(&self, scheduled: &Scheduled, found: &TriggerRecords) -> Fired {
        let now = found.now;
        let record = found.of(scheduled.workflow.as_str(), scheduled.trigger.as_str());
        let plan = plan(&scheduled.schedule, scheduled.missed, record, now, BATCH);
        let mut starts = Vec::with_capacity(plan.due.len());
        for time in &plan.due {
            starts.push(occur(&self.runtime, &scheduled.workflow, &scheduled.trigger, *time));
        }
        let (mut runs, mut position) = (0, plan.position);
        for (place, start) in join_all(starts).await.into_iter().enumerate() {
            let time = plan.due.get(place);
            match start {
                Ok(started) => runs += usize::from(started),
                Err(error) if is_final(&error) => {
                    let (workflow, trigger) = (&scheduled.workflow, &scheduled.trigger);
                    let intended_at = time.map(ToString::to_string).unwrap_or_default();
                    tracing::error!(target: "squidmesh", %workflow, %trigger, intended_at, %error, "an occurrence was refused and is left out");
                }
                Err(error) => {
                    let (workflow, trigger) = (&scheduled.workflow, &scheduled.trigger);
                    tracing::warn!(target: "squidmesh", %workflow, %trigger, %error, "an occurrence could not be started; tried again in a second");
                    // What lies before it is dealt with; it and what follows is found again, started or not.
                    position = place.checked_sub(1).and_then(|before| plan.due.get(before)).copied();
                    let _ = self.moved(scheduled, record, position).await;
                    return Fired { runs, next_in: Some(AGAIN) };
                }
            }
        }
        let next_in = match self.moved(scheduled, record, position).await {
            Ok(true) => plan.next.map(|next| next.since(now)),
            Ok(false) => Some(Duration::ZERO), // another process was faster: see what it left
            Err(error) => {
                let (workflow, trigger) = (&scheduled.workflow, &scheduled.trigger);
                tracing::warn!(target: "squidmesh", %workflow, %trigger, %error, "a trigger's position could not be written; tried again in a second");
                Some(AGAIN)
            }
        };
        Fired { runs, next_in }
    }

    /// Moves a trigger's position, unless it was changed since it was read.
    async fn moved(
        &self,
        scheduled: &Scheduled,
        record: Option<&TriggerRecord>,
        position: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let Some(position) = position else { return Ok(true) };
        let fresh = || TriggerRecord::new(scheduled.workflow.clone(), scheduled.trigger.clone());
        let mut record = record.cloned().unwrap_or_else(fresh);
        advance(&mut record, &scheduled.schedule, position);
        record.revision += 1;
        self.runtime.store.put_trigger(&record).await
    }
}

/// Starts the run of an occurrence, unless it was started before.
pub(super) async fn occur(
    runtime: &Arc<Runtime>,
    workflow: &WorkflowName,
    trigger: &TriggerName,
    intended_at: Timestamp,
) -> Result<bool, StartError> {
    let mesh = Squidmesh::from_runtime(runtime.clone());
    mesh.start_run(workflow.as_str(), &Map::new())
        .trigger(trigger.as_str())
        .idempotency_key(format!("cron:{trigger}:{intended_at}"))
        .intended_at(Some(intended_at))
        .start_unless_taken()
        .await
}

/// Whether trying again would lead to the same.
fn is_final(error: &StartError) -> bool {
    !matches!(
        error,
        StartError::Store(_)
            | StartError::Dispatch(
                DispatchError::Store(_)
                    | DispatchError::Conflict(_)
                    | DispatchError::Refused(Refusal::Unavailable { .. })
            )
    )
}
