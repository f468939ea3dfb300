//! Dispatching inside a unit of work: targets become pending step runs and intents, after the executor has described the
//! jobs.
//!
//! The executor is asked before anything is changed, so a refusal leaves the unit of work as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::UnitOfWork;
use crate::{
    DispatchEvent, DispatchOptions, EventKind, InputMapping, Intent, IntentKey, Job, JobMetadata, Priority, QueueName,
    Refusal, RunId, RunStatus, Shape, StepKind, StepName, StepRun, StoreError,
};

/// Describes jobs before they are committed, or refuses them all: the executor's part in a decision.
pub trait DescribeJobs {
    /// One metadata for each job, in their order.
    ///
    /// # Errors
    /// [`Refusal`] says why there is none.
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal>;
}

impl<F: Fn(&[Job]) -> Result<Vec<JobMetadata>, Refusal>> DescribeJobs for F {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self(jobs)
    }
}

/// Why nothing was dispatched. Whatever the call had begun is undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run is in a status in which it schedules nothing.
    #[error("run {run} is {status} and schedules no work; only pending, running and retrying runs do")]
    NotSchedulable {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The workflow has no such step; or, with `None`, the run has no current step and its workflow names no steps to
    /// start with.
    #[error("{}", invalid_step(.0.as_ref()))]
    InvalidStep(Option<StepName>),
    /// Only the compensation of a failed run is dispatched.
    #[error("run {run} is {status}: only a failed run is compensated")]
    NotFailed {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The run's version of the workflow is not registered in this process.
    #[error("run {0} is pinned to a version of its workflow that this process does not have: register that version")]
    UnknownDefinition(RunId),
    /// The executor did not take the jobs.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The run kept changing; the call was given up after many tries.
    #[error("run {0} kept changing while it was dispatched; try again")]
    Conflict(RunId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn invalid_step(step: Option<&StepName>) -> String {
    match step {
        Some(step) => format!("the workflow has no step {step}"),
        None => "the run has no current step to dispatch".to_owned(),
    }
}

/// What was dispatched: the metadata of each job, and the events to emit after the commit.
pub type Dispatched = (Vec<JobMetadata>, Vec<DispatchEvent>);

/// Dispatches the run's current step; for a dependency workflow without one, its entry steps together.
///
/// # Errors
/// [`DispatchError::InvalidStep`] with `None` for a transition workflow without a current step; otherwise as
/// [`dispatch_steps`].
pub fn dispatch_run(
    work: &mut UnitOfWork,
    options: &DispatchOptions,
    jobs: &dyn DescribeJobs,
) -> Result<Dispatched, DispatchError> {
    if let Some(step) = work.run().current_step.clone() {
        return dispatch_steps(work, &[step], options, jobs);
    }
    match work.definition().shape() {
        Shape::Transitions => Err(DispatchError::InvalidStep(None)),
        Shape::Dependencies => {
            let entries: Vec<StepName> = work.definition().entry_steps().iter().map(|step| step.name.clone()).collect();
            dispatch_steps(work, &entries, &options.schedule_pending(), jobs)
        }
    }
}

/// Dispatches steps of the run, each once, in the order given. With `schedule_pending`, a pending step run is created for
/// each, and only those created now are dispatched.
///
/// # Errors
/// [`DispatchError`]: the unit of work is then as it was before.
pub fn dispatch_steps(
    work: &mut UnitOfWork,
    targets: &[StepName],
    options: &DispatchOptions,
    jobs: &dyn DescribeJobs,
) -> Result<Dispatched, DispatchError> {
    let planned = plan(work, targets, options)?;
    let metadata = describe(jobs, &planned)?;
    apply(work, planned, options);
    let events = events(work, &metadata);
    Ok((metadata, events))
}

/// Dispatches the compensation of the failed run.
///
/// # Errors
/// [`DispatchError::NotFailed`] unless the run is failed, in this unit of work or before; [`DispatchError::Refused`].
pub fn dispatch_compensation(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) -> Result<Dispatched, DispatchError> {
    let run = work.run();
    if run.status != RunStatus::Failed {
        return Err(DispatchError::NotFailed { run: run.id, status: run.status });
    }
    let job = Job::new(IntentKey::compensation(run.id), QueueName::default(), Priority::Normal, None);
    let metadata = describe(jobs, std::slice::from_ref(&job))?;
    work.add_intent(intent(work, job));
    let events = events(work, &metadata);
    Ok((metadata, events))
}

/// Dispatches the successors of a finished step. What the executor cannot tell just now is committed all the same: the
/// intent waits in the store. The events go with the unit of work.
///
/// # Errors
/// The refusal of a successor that could never be delivered.
pub(super) fn dispatch_successors(
    work: &mut UnitOfWork,
    targets: &[StepName],
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<usize, DispatchError> {
    let options = DispatchOptions { schedule_in: delay, schedule_pending: true };
    let planned = plan(work, targets, &options)?;
    let metadata = match describe(jobs, &planned) {
        Err(refusal @ Refusal::Unroutable { .. }) => return Err(refusal.into()),
        Err(_) => planned.iter().map(Job::metadata).collect(),
        Ok(metadata) => metadata,
    };
    let count = planned.len();
    apply(work, planned, &options);
    tell(work, metadata);
    Ok(count)
}

/// Dispatches the compensation of a run that has just failed, or that a late sibling gave more to compensate. It is never
/// given up: what is owed is committed whatever the executor says.
pub(super) fn owe_compensation(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) {
    let job = Job::new(IntentKey::compensation(work.run().id), QueueName::default(), Priority::Normal, None);
    let metadata = describe(jobs, std::slice::from_ref(&job)).unwrap_or_else(|_| vec![job.metadata()]);
    let intent = intent(work, job);
    work.replace_intent(intent);
    tell(work, metadata);
}

/// The jobs that a call would dispatch, checked against the run and its definition.
fn plan(work: &UnitOfWork, targets: &[StepName], options: &DispatchOptions) -> Result<Vec<Job>, DispatchError> {
    let run = work.run();
    if !run.status.may_schedule() {
        return Err(DispatchError::NotSchedulable { run: run.id, status: run.status });
    }
    let mut seen = BTreeSet::new();
    let mut planned = Vec::with_capacity(targets.len());
    for step in targets {
        let definition =
            work.definition().step(step.as_str()).ok_or_else(|| DispatchError::InvalidStep(Some(step.clone())))?;
        let exists = options.schedule_pending && work.state().steps.contains_key(step);
        if !seen.insert(step) || exists {
            continue;
        }
        let delay = options.schedule_in.unwrap_or_default();
        let delay = match &definition.kind {
            StepKind::Wait { duration } => delay.saturating_add(*duration),
            _ => delay,
        };
        let delay = Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let schedule_in = (!delay.is_zero()).then_some(delay);
        let key = IntentKey::step(run.id, step.clone());
        planned.push(Job::new(key, definition.queue.clone(), definition.priority, schedule_in));
    }
    Ok(planned)
}

fn describe(jobs: &dyn DescribeJobs, planned: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = jobs.describe(planned)?;
    if metadata.len() == planned.len() {
        Ok(metadata)
    } else {
        let reason = format!("it described {} jobs when asked about {}", metadata.len(), planned.len());
        Err(Refusal::Defective { reason })
    }
}

fn apply(work: &mut UnitOfWork, planned: Vec<Job>, options: &DispatchOptions) {
    for job in planned {
        if let (true, Some(step)) = (options.schedule_pending, job.key.target.step()) {
            schedule_pending(work, step);
        }
        let intent = intent(work, job);
        work.add_intent(intent);
    }
}

/// Creates the pending step run of a step: its input snapshot and recovery policy.
pub(super) fn schedule_pending(work: &mut UnitOfWork, step: &StepName) {
    let Some(definition) = work.step_definition(step) else { return };
    let visible = work.state().visible_to(step.as_str(), work.definition());
    let input = Arc::new(mapped_input(visible, &definition.input));
    let pending = StepRun::pending(definition.name, input, definition.recovery, work.now());
    work.create_step(pending);
}

fn mapped_input(visible: Map<String, Value>, mapping: &InputMapping) -> Map<String, Value> {
    match mapping {
        InputMapping::Everything => visible,
        InputMapping::Keys(keys) => {
            keys.iter().filter_map(|key| Some((key.clone(), visible.get(key)?.clone()))).collect()
        }
        InputMapping::Paths(paths) => paths
            .iter()
            .filter_map(|(key, path)| {
                let (first, rest) = path.split_first()?;
                let found = rest.iter().try_fold(visible.get(first)?, |value, segment| inside(value, segment))?;
                Some((key.clone(), found.clone()))
            })
            .collect(),
    }
}

/// A member of an object, or an element of a list by its number.
fn inside<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match value {
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        _ => value.get(segment),
    }
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

fn events(work: &UnitOfWork, metadata: &[JobMetadata]) -> Vec<DispatchEvent> {
    metadata
        .iter()
        .map(|metadata| DispatchEvent::RunDispatched { run: work.run().clone(), metadata: metadata.clone() })
        .collect()
}

fn tell(work: &mut UnitOfWork, metadata: Vec<JobMetadata>) {
    for metadata in metadata {
        work.tell(EventKind::RunDispatched { metadata });
    }
}
