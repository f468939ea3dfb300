//! A run with all its step runs and signals: the input of the engine's decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Failure, ReceivedSignal, RunStatus, StepRun, StepStatus};
use crate::definition::{Definition, Fingerprint, Shape};
use crate::id::RunId;
use crate::json::object_size;
use crate::name::{StepName, TriggerName, WorkflowName};
use crate::port::CommitToken;
use crate::time::Timestamp;

/// One execution of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The id of the run.
    pub id: RunId,
    /// The workflow of the run.
    pub workflow: WorkflowName,
    /// The version of the workflow that the run is pinned to.
    pub fingerprint: Fingerprint,
    /// The trigger that started the run.
    pub trigger: TriggerName,
    /// The status of the run.
    pub status: RunStatus,
    /// The payload of the run, with defaults resolved.
    pub payload: Arc<Map<String, Value>>,
    /// The current step in a transition workflow; `None` in a dependency workflow and at the end.
    pub current_step: Option<StepName>,
    /// The failure of the run.
    pub last_error: Option<Failure>,
    /// The run that it replays.
    pub replayed_from: Option<RunId>,
    /// The failed run that it resumes.
    pub resumed_from: Option<RunId>,
    /// The intended time of the schedule's occurrence that started it; `None` if no schedule did.
    pub intended_at: Option<Timestamp>,
    /// The idempotency key: a second start with it returns this run.
    pub idempotency_key: Option<String>,
    /// Counts the commits of this run, starting at 1. A commit names the revision that it was decided on.
    pub revision: u64,
    /// The token of the last commit. It identifies a commit whose answer was lost.
    pub token: CommitToken,
    /// The time at which the run was started.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The time at which the run ended.
    pub finished_at: Option<Timestamp>,
}

/// A run with all its step runs and signals.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSnapshot {
    /// The run.
    pub run: Run,
    /// Its step runs, by step.
    pub steps: BTreeMap<StepName, StepRun>,
    /// The signals that it has received, in that order. There are never many: the number that no step has taken is
    /// limited, and a step takes one at most.
    pub signals: Vec<ReceivedSignal>,
    measured: Measured,
}

/// The cached size of all outputs together. It is not part of the run's data.
#[derive(Clone, Copy, Debug, Default)]
struct Measured(Option<usize>);

impl PartialEq for Measured {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl RunSnapshot {
    /// Creates the snapshot of a run and its step runs, without signals.
    pub fn new(run: Run, steps: impl IntoIterator<Item = StepRun>) -> Self {
        let steps = steps.into_iter().map(|step| (step.step.clone(), step)).collect();
        RunSnapshot { run, steps, signals: Vec::new(), measured: Measured::default() }
    }

    /// Sets the signals that the run has received.
    #[must_use]
    pub fn with_signals(mut self, signals: Vec<ReceivedSignal>) -> Self {
        self.signals = signals;
        self
    }

    /// Returns the size of all outputs together, in bytes of compact JSON: never less than that of the context.
    pub(crate) fn output_bytes(&mut self) -> usize {
        let outputs = self.steps.values().filter_map(|step| step.output.as_deref());
        *self.measured.0.get_or_insert_with(|| outputs.map(object_size).fold(0, usize::saturating_add))
    }

    /// Adds an output that a step run received to the cached size.
    pub(crate) fn count_output(&mut self, bytes: usize) {
        self.measured.0 = self.measured.0.map(|measured| measured.saturating_add(bytes));
    }

    /// Returns whether a step has completed.
    pub(crate) fn is_completed(&self, step: &StepName) -> bool {
        self.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed)
    }

    /// Returns the step runs in a status.
    pub fn in_status(&self, status: StepStatus) -> impl Iterator<Item = &StepRun> {
        self.steps.values().filter(move |step| step.status == status)
    }

    /// Returns the merged outputs of the completed steps. Later ones win: in the order of completion for a
    /// transition workflow, in the order of declaration for a dependency workflow.
    pub fn context(&self, definition: &Definition) -> Map<String, Value> {
        merged(Map::new(), self.completed(definition).into_iter())
    }

    /// Returns the step runs with an output, in the order in which their outputs are merged.
    pub(crate) fn completed(&self, definition: &Definition) -> Vec<&StepRun> {
        let mut completed: Vec<&StepRun> = self.steps.values().filter(|step| step.output.is_some()).collect();
        match definition.shape() {
            Shape::Transitions => completed.sort_by_key(|step| step.sequence),
            Shape::Dependencies => completed.sort_by_key(|step| definition.position(step.step.as_str())),
        }
        completed
    }

    /// Returns what the handler of `step` receives before its input mapping: the payload with the context merged
    /// over it. In a dependency workflow the context holds only the outputs of the step's direct and indirect
    /// dependencies, so that it does not depend on what else has finished.
    pub fn visible_to(&self, step: &str, definition: &Definition) -> Map<String, Value> {
        self.visible_as_of(u64::MAX, step, definition)
    }

    /// Returns what was [visible](RunSnapshot::visible_to) to a step as of the completion with a sequence number. What
    /// a step depends on has completed when the step is scheduled, so in a dependency workflow the number does not
    /// matter.
    pub(crate) fn visible_as_of(&self, sequence: u64, step: &str, definition: &Definition) -> Map<String, Value> {
        let payload = (*self.run.payload).clone();
        match definition.shape() {
            Shape::Transitions => {
                let completed = self.completed(definition).into_iter();
                merged(payload, completed.filter(|step| step.sequence.is_none_or(|position| position <= sequence)))
            }
            Shape::Dependencies => {
                let ancestors = definition.ancestors(step);
                merged(payload, ancestors.into_iter().filter_map(|ancestor| self.steps.get(&ancestor.name)))
            }
        }
    }
}

fn merged<'a>(mut onto: Map<String, Value>, steps: impl Iterator<Item = &'a StepRun>) -> Map<String, Value> {
    for output in steps.filter_map(|step| step.output.as_deref()) {
        onto.extend(output.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    onto
}
