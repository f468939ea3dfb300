//! A run with everything that is recorded about it, step by step.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::redaction::{HostTextKind, Redaction, Texts};
use crate::definition::Definition;
use crate::name::{StepName, names};
use crate::port::{IntentRecord, RunHistory};
use crate::run::{Attempt, AuditEvent, InputSnapshot, ReceivedSignal, Run, RunSnapshot, StepRun, StepStatus};

/// A run with its context and everything recorded about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunDetails {
    /// The run itself.
    pub run: Run,
    /// The merged outputs of the run's completed steps.
    pub context: Map<String, Value>,
    /// Every declared step, in order of declaration.
    pub steps: Vec<StepView>,
    /// The signals that it has received, in that order.
    pub signals: Vec<SignalView>,
    /// The audit trail, in order.
    pub audit: Vec<AuditEvent>,
    /// The targets that are dispatched and not yet done.
    pub intents: Vec<IntentRecord>,
}

impl RunDetails {
    /// Redacts every text of the host: for pages and interfaces that people see.
    #[must_use]
    pub fn redacted(mut self, by: &dyn Redaction) -> Self {
        let workflow = self.run.workflow.clone();
        let run = Texts { by, workflow: &workflow, step: None };
        run.object(Arc::make_mut(&mut self.run.payload));
        run.object(&mut self.context);
        run.optional(&mut self.run.last_error);
        self.run.idempotency_key = self.run.idempotency_key.and_then(|key| run.show(HostTextKind::Data, &key));
        for view in &mut self.steps {
            let step = Texts { by, workflow: &workflow, step: Some(&view.name) };
            view.attempts.iter_mut().for_each(|attempt: &mut Attempt| step.optional(&mut attempt.error));
            view.run.iter_mut().for_each(|run| step.step_run(run));
        }
        self.signals.iter_mut().for_each(|view| run.signal(&mut view.received));
        self.audit.iter_mut().for_each(|entry| run.audit(entry));
        self
    }
}

/// A signal that a run has received.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SignalView {
    /// The signal.
    #[serde(flatten)]
    pub received: ReceivedSignal,
    /// Whether the run's version of the workflow declares it: no step takes one that a version does not declare.
    pub is_declared: bool,
}

/// A declared step of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepView {
    /// The step's name.
    pub name: StepName,
    /// The step's state.
    pub state: StepState,
    /// The steps that it depends on, in a dependency workflow.
    pub after: Vec<StepName>,
    /// The step run, once the step was scheduled. Its input is a [copy](InputSnapshot::Copy).
    pub run: Option<StepRun>,
    /// The step's attempts, first to last.
    pub attempts: Vec<Attempt>,
}

/// The state of a declared step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// The step has not been scheduled.
    Waiting,
    /// The step is scheduled.
    Pending,
    /// The step is running.
    Running,
    /// The step waits for a person or a signal.
    Paused,
    /// The step completed.
    Completed,
    /// The step failed permanently.
    Failed,
    /// The step was scheduled, but the run ended before it began.
    Cancelled,
}

impl From<StepStatus> for StepState {
    fn from(status: StepStatus) -> Self {
        match status {
            StepStatus::Pending => StepState::Pending,
            StepStatus::Running => StepState::Running,
            StepStatus::Paused => StepState::Paused,
            StepStatus::Completed => StepState::Completed,
            StepStatus::Failed => StepState::Failed,
            StepStatus::Cancelled => StepState::Cancelled,
        }
    }
}

names! {
    StepState, "JSON and drawings":
    Waiting = "waiting",
    Pending = "pending",
    Running = "running",
    Paused = "paused",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
}

impl RunDetails {
    /// Combines a run, its version and its history.
    pub(crate) fn of(state: RunSnapshot, definition: &Definition, history: RunHistory) -> Self {
        RunDetails {
            context: state.context(definition),
            steps: steps(&state, definition, &history),
            run: state.run,
            signals: signals(state.signals, definition),
            audit: history.audit,
            intents: history.intents,
        }
    }
}

fn signals(received: Vec<ReceivedSignal>, definition: &Definition) -> Vec<SignalView> {
    let is_declared = |signal: &ReceivedSignal| definition.signal(signal.name.as_str()).is_some();
    received.into_iter().map(|received| SignalView { is_declared: is_declared(&received), received }).collect()
}

fn steps(state: &RunSnapshot, definition: &Definition, history: &RunHistory) -> Vec<StepView> {
    definition
        .steps()
        .iter()
        .map(|step| {
            let run = state.steps.get(&step.name);
            StepView {
                name: step.name.clone(),
                state: run.map_or(StepState::Waiting, |run| run.status.into()),
                after: step.after.clone(),
                run: run
                    .map(|run| StepRun { input: InputSnapshot::Copy(state.input_of(run, definition)), ..run.clone() }),
                attempts: run.map(|run| history.attempts_of(run)).unwrap_or_default(),
            }
        })
        .collect()
}
