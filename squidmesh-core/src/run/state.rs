//! A run and all its step runs: what the engine decides on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Failure, RunStatus, StepRun, StepStatus};
use crate::{CommitToken, Definition, Fingerprint, RunId, Shape, StepName, Timestamp, TriggerName, WorkflowName};

/// One execution of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which run.
    pub id: RunId,
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// The version of the workflow that it is pinned to.
    pub fingerprint: Fingerprint,
    /// The trigger that started it.
    pub trigger: TriggerName,
    /// Where it is.
    pub status: RunStatus,
    /// The payload it was started with, defaults resolved.
    pub payload: Arc<Map<String, Value>>,
    /// The step whose turn it is in a transition workflow; `None` in a dependency workflow and at the end.
    pub current_step: Option<StepName>,
    /// Why it failed.
    pub last_error: Option<Failure>,
    /// The run that it repeats.
    pub replayed_from: Option<RunId>,
    /// The failed run that it goes on from.
    pub resumed_from: Option<RunId>,
    /// The time of the occurrence of a schedule that it is the run of; `None` if no schedule started it.
    pub intended_at: Option<Timestamp>,
    /// The key that makes a second start return this run.
    pub idempotency_key: Option<String>,
    /// Counts the commits of this run, from 1. A commit names the revision that it was decided on.
    pub revision: u64,
    /// Identifies the last commit, so that a commit whose answer was lost can be recognized.
    pub token: CommitToken,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A run with all its step runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// The run.
    pub run: Run,
    /// Its step runs, by step.
    pub steps: BTreeMap<StepName, StepRun>,
}

impl RunState {
    /// The state made of a run and its step runs.
    pub fn new(run: Run, steps: impl IntoIterator<Item = StepRun>) -> Self {
        RunState { run, steps: steps.into_iter().map(|step| (step.step.clone(), step)).collect() }
    }

    /// The step runs in a status.
    pub fn in_status(&self, status: StepStatus) -> impl Iterator<Item = &StepRun> {
        self.steps.values().filter(move |step| step.status == status)
    }

    /// The outputs of the completed steps, merged. Later ones win: in the order of completion for a transition
    /// workflow, in the order of declaration for a dependency workflow.
    pub fn context(&self, definition: &Definition) -> Map<String, Value> {
        let mut completed: Vec<&StepRun> = self.steps.values().filter(|step| step.output.is_some()).collect();
        match definition.shape() {
            Shape::Transitions => completed.sort_by_key(|step| step.sequence),
            Shape::Dependencies => completed.sort_by_key(|step| definition.position(step.step.as_str())),
        }
        merged(Map::new(), completed.into_iter())
    }

    /// What the handler of `step` is given before its input mapping: the payload with the context merged over it. In a
    /// dependency workflow the context holds only what the step depends on, directly or through others, so that it is the
    /// same whatever else has finished.
    pub fn visible_to(&self, step: &str, definition: &Definition) -> Map<String, Value> {
        let payload = (*self.run.payload).clone();
        match definition.shape() {
            Shape::Transitions => {
                let mut all = payload;
                all.extend(self.context(definition));
                all
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
