//! Dispatching inside a unit of work: targets become pending step runs and intents, after the executor has
//! described the jobs.
//!
//! The executor describes the jobs before anything is changed, so a refusal leaves the unit of work as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use super::describe::{DescribeJobs, describe, describe_compensation};
use super::{DispatchRefused, UnitOfWork, WhyNotRunnable};
use crate::definition::{Priority, Shape, StepDefinition, StepKind};
use crate::dispatch::{DispatchOptions, Intent, IntentKey, Job, JobMetadata, Lease, Refusal};
use crate::event::{Event, EventKind};
use crate::name::{QueueName, StepName};
use crate::run::{RunStatus, StepRun, StepStatus};

/// A dispatch: the metadata of each job, and the events to emit after the commit.
pub type Dispatched = (Vec<JobMetadata>, Vec<Event>);

/// Dispatches the run's current step. In a dependency workflow, which has none, dispatches those of its entry
/// steps that have not been scheduled, together.
///
/// # Errors
/// [`DispatchRefused::InvalidStep`] with `None` for a transition workflow without a current step; otherwise as
/// [`dispatch_steps`].
pub fn dispatch_run(
    work: &mut UnitOfWork,
    options: &DispatchOptions,
    jobs: &dyn DescribeJobs,
) -> Result<Dispatched, DispatchRefused> {
    if let Some(step) = work.run().current_step.clone() {
        return dispatch_steps(work, &[step], options, jobs);
    }
    match work.definition().shape() {
        Shape::Transitions => Err(DispatchRefused::InvalidStep(None)),
        Shape::Dependencies => {
            may_schedule(work)?;
            let entries = work.definition().entry_steps().into_iter().map(|step| &step.name);
            let new = entries.filter(|step| !work.state().steps.contains_key(*step)).cloned().collect::<Vec<_>>();
            dispatch_steps(work, &new, &options.schedule_pending(), jobs)
        }
    }
}

/// Dispatches steps of the run that can run now, each once, in the given order. With `schedule_pending`, a
/// pending step run is created for each, and only those that this call created are dispatched. Without targets
/// nothing is dispatched, in any state of the run.
///
/// # Errors
/// [`DispatchRefused::NotRunnable`] if any step cannot run now; otherwise see [`DispatchRefused`]. The unit of work
/// is then unchanged.
pub fn dispatch_steps(
    work: &mut UnitOfWork,
    targets: &[StepName],
    options: &DispatchOptions,
    jobs: &dyn DescribeJobs,
) -> Result<Dispatched, DispatchRefused> {
    if targets.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    may_schedule(work)?;
    let mut runnable = Ok(());
    for step in targets {
        let definition = declared(work, step)?;
        let can = can_run(work, definition, options.schedule_pending);
        runnable = runnable.and(can.map_err(|why| DispatchRefused::NotRunnable { step: step.clone(), why }));
    }
    // A step that the workflow does not have is the more serious error, wherever it is among the targets.
    runnable?;
    let planned = plan(work, targets, options)?;
    let mut metadata = describe(jobs, &planned)?;
    let mut described = metadata.iter_mut();
    apply(work, planned, options.schedule_pending, |intent| {
        described.next().iter_mut().for_each(|metadata| metadata.intent = Some(Box::new(intent.clone())));
    });
    let events = events(work, &metadata);
    Ok((metadata, events))
}

/// Dispatches the compensation of the failed run. It is never refused: it is committed even if the executor
/// refuses it.
///
/// # Errors
/// [`DispatchRefused::NotFailed`] unless the run is failed, in this unit of work or before.
pub fn dispatch_compensation(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) -> Result<Dispatched, DispatchRefused> {
    let run = work.run();
    if run.status != RunStatus::Failed {
        return Err(DispatchRefused::NotFailed { run: run.id, status: run.status });
    }
    let job = compensation(work);
    let mut metadata = describe_compensation(jobs, &job);
    let intent = intent(work, job);
    work.add_intent(intent.clone());
    for metadata in &mut metadata {
        metadata.intent = Some(Box::new(intent.clone()));
    }
    let events = events(work, &metadata);
    Ok((metadata, events))
}

/// Dispatches the successors of a finished step. If the executor is not available, they are still committed: the
/// intents wait in the store. The events are added to the unit of work.
///
/// # Errors
/// The refusal of a successor that could never be delivered.
pub(super) fn dispatch_successors(
    work: &mut UnitOfWork,
    targets: &[StepName],
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<usize, DispatchRefused> {
    may_schedule(work)?;
    let accepted = accept_successors(work, targets, delay, jobs, |refusal| {
        matches!(refusal, Refusal::Unavailable { .. } | Refusal::Defective { .. })
    })?;
    Ok(accepted.dispatch(work))
}

/// Successors that the executor has described before anything is changed.
pub(super) struct AcceptedSuccessors {
    jobs: Vec<Job>,
    metadata: Vec<JobMetadata>,
}

/// Describes the successors of a step with the executor. A refusal that is `tolerated` does not fail the call.
///
/// # Errors
/// [`DispatchRefused::InvalidStep`]; [`DispatchRefused::ByExecutor`].
pub(super) fn accept_successors(
    work: &UnitOfWork,
    targets: &[StepName],
    delay: Option<Duration>,
    executor: &dyn DescribeJobs,
    tolerated: impl Fn(&Refusal) -> bool,
) -> Result<AcceptedSuccessors, DispatchRefused> {
    let options = DispatchOptions { schedule_in: delay, schedule_pending: true };
    let jobs = plan(work, targets, &options)?;
    let metadata = match describe(executor, &jobs) {
        Err(refusal) if tolerated(&refusal) => jobs.iter().map(Job::metadata).collect(),
        answer => answer?,
    };
    Ok(AcceptedSuccessors { jobs, metadata })
}

impl AcceptedSuccessors {
    /// Dispatches the successors, and returns their number.
    pub(super) fn dispatch(self, work: &mut UnitOfWork) -> usize {
        let count = self.jobs.len();
        apply(work, self.jobs, true, |_| {});
        emit(work, self.metadata);
        count
    }
}

/// Dispatches the compensation of a run that has just failed, or whose late sibling adds to the compensation. It
/// is committed even if the executor refuses it.
pub(super) fn schedule_compensation(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) {
    let job = compensation(work);
    let metadata = describe_compensation(jobs, &job);
    let intent = intent(work, job);
    work.replace_intent(intent);
    emit(work, metadata);
}

fn compensation(work: &UnitOfWork) -> Job {
    Job::new(IntentKey::compensation(work.run().id), QueueName::default(), Priority::Normal, None)
}

fn may_schedule(work: &UnitOfWork) -> Result<(), DispatchRefused> {
    let run = work.run();
    if run.status.may_schedule() {
        Ok(())
    } else {
        Err(DispatchRefused::NotSchedulable { run: run.id, status: run.status })
    }
}

fn declared<'a>(work: &'a UnitOfWork, step: &StepName) -> Result<&'a StepDefinition, DispatchRefused> {
    work.definition().step(step.as_str()).ok_or_else(|| DispatchRefused::InvalidStep(Some(step.clone())))
}

/// Checks that a step can run now: it is the step's turn, and it has not begun. Without `schedule_pending`, a
/// completed step may be delivered again, which advances the run from its recorded output.
fn can_run(work: &UnitOfWork, step: &StepDefinition, schedule_pending: bool) -> Result<(), WhyNotRunnable> {
    let status = |name: &StepName| work.state().steps.get(name).map(|found| found.status);
    match work.definition().shape() {
        Shape::Transitions => {
            let current = work.run().current_step.as_ref();
            if current != Some(&step.name) {
                return Err(WhyNotRunnable::NotCurrent { current: current.cloned() });
            }
        }
        Shape::Dependencies => {
            let open = step.after.iter().filter(|dependency| status(dependency) != Some(StepStatus::Completed));
            let dependencies: Vec<StepName> = open.cloned().collect();
            if !dependencies.is_empty() {
                return Err(WhyNotRunnable::DependenciesOpen { dependencies });
            }
        }
    }
    match status(&step.name) {
        None | Some(StepStatus::Pending) => Ok(()),
        Some(StepStatus::Completed) if !schedule_pending => Ok(()),
        Some(status) => Err(WhyNotRunnable::InStatus(status)),
    }
}

/// Returns the delay that the dependencies of a step asked for, counted from now. Another process may have
/// stamped the time, with another clock: the delay is never longer than the one that was asked for.
fn asked_delay(work: &UnitOfWork, step: &StepDefinition) -> Duration {
    let needed = step.after.iter().filter_map(|dependency| work.state().steps.get(dependency));
    let left = needed.filter_map(|dependency| {
        let until = dependency.successors_at?;
        let asked = dependency.finished_at.map_or(Duration::ZERO, |finished| until.since(finished));
        Some(until.since(work.now()).min(asked))
    });
    left.max().unwrap_or_default()
}

/// Returns the jobs that a call would dispatch.
fn plan(work: &UnitOfWork, targets: &[StepName], options: &DispatchOptions) -> Result<Vec<Job>, DispatchRefused> {
    let mut seen = BTreeSet::new();
    let mut planned = Vec::with_capacity(targets.len());
    for step in targets {
        let definition = declared(work, step)?;
        let exists = options.schedule_pending && work.state().steps.contains_key(step);
        if !seen.insert(step) || exists {
            continue;
        }
        // Never before the latest time that one of the step's dependencies asked for.
        let delay = options.schedule_in.unwrap_or_default().max(asked_delay(work, definition));
        let delay = match &definition.kind {
            StepKind::Wait { duration } => delay.saturating_add(*duration),
            _ => delay,
        };
        let delay = Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let schedule_in = (!delay.is_zero()).then_some(delay);
        let key = IntentKey::step(work.run().id, step.clone());
        planned.push(Job::new(key, definition.queue.clone(), definition.priority, schedule_in));
    }
    Ok(planned)
}

/// Writes the planned jobs, and passes each intent to `show`.
fn apply(work: &mut UnitOfWork, planned: Vec<Job>, schedule: bool, mut show: impl FnMut(&Intent)) {
    for job in planned {
        if let (true, Some(step)) = (schedule, job.key.target.step()) {
            schedule_pending(work, step);
        }
        let intent = intent(work, job);
        show(&intent);
        work.add_intent(intent);
    }
}

/// Creates the pending step run of a step: its input, by reference, and its recovery policy.
pub(super) fn schedule_pending(work: &mut UnitOfWork, step: &StepName) {
    let Some(definition) = work.step_definition(step) else { return };
    let pending =
        StepRun::pending(definition.name, work.state().input_now(work.definition()), definition.recovery, work.now());
    work.create_step(pending);
}

/// Releases a claim, and makes its intent due again after `delay`.
pub(super) fn reschedule(work: &mut UnitOfWork, lease: &Lease, delay: Duration) {
    let definition = lease.key.target.step().and_then(|step| work.step_definition(step));
    let (queue, priority) =
        definition.map_or((QueueName::default(), Priority::Normal), |step| (step.queue, step.priority));
    let fingerprint = work.run().fingerprint;
    work.replace_intent(Intent { key: lease.key.clone(), fingerprint, queue, priority, delay, lease: None });
}

fn intent(work: &UnitOfWork, job: Job) -> Intent {
    Intent {
        key: job.key,
        fingerprint: work.run().fingerprint,
        queue: job.queue,
        priority: job.priority,
        delay: job.schedule_in.unwrap_or_default(),
        lease: None,
    }
}

fn events(work: &UnitOfWork, metadata: &[JobMetadata]) -> Vec<Event> {
    let dispatched = metadata.iter().cloned().map(|metadata| EventKind::RunDispatched { metadata });
    dispatched.map(|kind| Event::new(work.run(), work.now(), kind)).collect()
}

/// Adds the event of each dispatched job to the unit of work.
pub(super) fn emit(work: &mut UnitOfWork, metadata: Vec<JobMetadata>) {
    for metadata in metadata {
        work.emit(EventKind::RunDispatched { metadata });
    }
}
