//! Explains the state of a run: one reason, what it waits for, what can be done, and where that is recorded.

use serde::Serialize;

use super::details::StepState;
use super::redaction::{Redaction, Texts};
use crate::definition::{Definition, Fingerprint, StepDefinition, StepKind, Target};
use crate::dispatch::IntentKey;
use crate::engine::{Difference, differences, resumption, resumption_in, unsafe_to_replay};
use crate::id::RunId;
use crate::name::{SignalName, StepName, WorkflowName};
use crate::port::{IntentRecord, RunHistory};
use crate::run::{Failure, PausedContinuation, RunSnapshot, RunStatus, StepRun, StepStatus};
use crate::time::Timestamp;

/// The reason for the state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The first step is dispatched and not yet begun.
    PendingDispatch,
    /// A step is due and not yet begun.
    StepScheduled,
    /// A step is running.
    StepRunning,
    /// A step waits for its dependencies: some of them have completed, and no step outside them runs.
    WaitingForDependencies,
    /// A failed step waits for its next attempt.
    WaitingForRetry,
    /// A step becomes due at a time.
    WaitingForTimer,
    /// A step waits for a signal.
    WaitingForSignal,
    /// The version of the workflow that the run is pinned to is not registered in this process.
    WaitingForDefinition,
    /// A step failed and has no attempts left.
    RetryExhausted,
    /// A step, or the transition from it, failed permanently.
    StepFailed,
    /// A pause step waits for a person to unblock the run.
    PausedForManualAction,
    /// An approval waits for a decision.
    PausedForApproval,
    /// The run is paused, and its continuation is not recorded.
    PausedWithMissingResumeMetadata,
    /// The run is paused, and the step that is to follow does not exist.
    PausedWithInvalidResumeTarget,
    /// The run is paused, and its version of the workflow is neither registered nor stored.
    PausedWithUnavailableWorkflow,
    /// The run is being cancelled, and a running step has not ended yet.
    Cancelling,
    /// The run was cancelled.
    Cancelled,
    /// The run completed.
    Completed,
}

/// An action that is possible on a run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextAction {
    /// Cancels the run.
    Cancel,
    /// Unblocks the paused run.
    Unblock,
    /// Approves the approval that the run waits for.
    Approve,
    /// Rejects the approval that the run waits for.
    Reject,
    /// Sends the signal that the run waits for.
    Signal,
    /// Starts a new run from the payload of this one.
    Replay,
    /// Starts a new run from the payload of this one. Effects that cannot be undone would happen again: this has
    /// to be allowed explicitly.
    ReplayAllowingIrreversible,
    /// Starts a new run that continues where this one failed.
    Resume,
    /// Starts a new run that continues where this one failed. A step whose effect cannot be undone would be tried
    /// again: this has to be allowed explicitly.
    ResumeAllowingIrreversible,
}

/// A step that another step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitsFor {
    /// The step.
    pub step: StepName,
    /// The state of the step.
    pub state: StepState,
}

/// Where a statement of an explanation is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The run at a revision.
    Run {
        /// The revision.
        revision: u64,
    },
    /// A step run.
    Step(StepName),
    /// An attempt of a step.
    Attempt {
        /// The step.
        step: StepName,
        /// The number of the attempt.
        number: u32,
    },
    /// A live intent.
    Intent(IntentKey),
}

/// The explanation of a run's state, with the actions that are possible.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The id of the run.
    pub run_id: RunId,
    /// The status of the run.
    pub status: RunStatus,
    /// The reason for its state.
    pub reason: Reason,
    /// The step that the reason is about.
    pub step: Option<StepName>,
    /// The attempt that runs, failed last, or comes next.
    pub attempt: Option<u32>,
    /// The signal that the step waits for.
    pub signal: Option<SignalName>,
    /// The time at which the step becomes due, or at which its lease expires; the deadline of an approval or signal; the
    /// time at which the compensation of a failed run continues. For a step that waits for its dependencies: the
    /// time at which the first of those becomes due.
    pub at: Option<Timestamp>,
    /// The steps that unscheduled steps wait for, independent of the reason.
    pub waits_for: Vec<WaitsFor>,
    /// The failure, if there is one.
    pub failure: Option<Failure>,
    /// The actions that would be accepted right now.
    pub actions: Vec<NextAction>,
    /// The records that the explanation is based on.
    pub evidence: Vec<Evidence>,
    /// What could take the place of the run's version, if that is not registered here and work is left.
    pub definition: Option<MissingVersion>,
}

/// A version of a workflow that is not registered in this process, and what could take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingVersion {
    /// The version that the run is pinned to.
    pub version: Fingerprint,
    /// The newest registered version of the workflow; `None` if there is none.
    pub newest: Option<Fingerprint>,
    /// Whether the host allows the newest version to adopt runs.
    pub adoption: bool,
    /// The differences that keep the newest version from adopting this run. Empty if it could adopt the run, if
    /// there is no such version, or if the run's version is not stored either.
    pub differences: Vec<Difference>,
}

impl Explanation {
    /// Redacts every text of the host.
    #[must_use]
    pub fn redacted(mut self, by: &dyn Redaction, workflow: &WorkflowName) -> Self {
        let step = self.step.clone();
        Texts { by, workflow, step: step.as_ref() }.optional(&mut self.failure);
        self
    }
}

/// The input of an explanation.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The run and its step runs.
    pub state: &'a RunSnapshot,
    /// The run's version of the workflow, if it is registered or stored.
    pub definition: Option<&'a Definition>,
    /// Whether that version is registered in this process, so that it can execute the run.
    pub registered: bool,
    /// Whether this process could start a new run of the workflow.
    pub replayable: bool,
    /// The newest registered version of the workflow.
    pub newest: Option<&'a Definition>,
    /// Whether the newest version may adopt runs.
    pub adoption: bool,
    /// The attempts, audit trail and intents of the run.
    pub history: &'a RunHistory,
    /// The current time.
    pub now: Timestamp,
}

/// Explains a run.
pub fn explain(subject: &Subject<'_>) -> Explanation {
    let run = &subject.state.run;
    let mut explanation = Explanation {
        run_id: run.id,
        status: run.status,
        reason: Reason::Completed,
        step: None,
        attempt: None,
        signal: None,
        at: None,
        waits_for: Vec::new(),
        failure: None,
        actions: actions(subject),
        evidence: vec![Evidence::Run { revision: run.revision }],
        definition: missing_version(subject),
    };
    match run.status {
        RunStatus::Completed => {}
        RunStatus::Cancelled => explanation.reason = Reason::Cancelled,
        RunStatus::Cancelling => {
            explanation.reason = Reason::Cancelling;
            if let Some(step) = subject.state.in_status(StepStatus::Running).next() {
                explanation.about(step, subject.history);
            }
        }
        RunStatus::Failed => failed(subject, &mut explanation),
        RunStatus::Paused => paused(subject, &mut explanation),
        RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => waiting(subject, &mut explanation),
    }
    explanation
}

fn missing_version(subject: &Subject<'_>) -> Option<MissingVersion> {
    let run = &subject.state.run;
    let over = run.status.is_terminal() && subject.history.intents.is_empty();
    (!subject.registered && !over).then(|| MissingVersion {
        version: run.fingerprint,
        newest: subject.newest.map(|newest| *newest.fingerprint()),
        adoption: subject.adoption,
        differences: match (subject.definition, subject.newest) {
            (Some(from), Some(to)) => differences(subject.state, from, to),
            _ => Vec::new(),
        },
    })
}

impl Explanation {
    fn about(&mut self, step: &StepRun, history: &RunHistory) {
        self.step = Some(step.step.clone());
        self.evidence.push(Evidence::Step(step.step.clone()));
        if step.attempt > 0 {
            self.attempt = Some(step.attempt);
            self.evidence.push(Evidence::Attempt { step: step.step.clone(), number: step.attempt });
        }
        if let Some(intent) = intent(step, history) {
            self.at = Some(intent.available_at);
            self.evidence.push(Evidence::Intent(intent.key.clone()));
        }
    }

    /// Sets the reason to a step that waits for its dependencies. Evidence and times of the dependencies stay.
    fn waiting_at(&mut self, join: &StepDefinition) {
        self.reason = Reason::WaitingForDependencies;
        (self.step, self.attempt) = (Some(join.name.clone()), None);
    }
}

fn intent<'a>(step: &StepRun, history: &'a RunHistory) -> Option<&'a IntentRecord> {
    history.intents.iter().find(|intent| intent.key.target.step() == Some(&step.step))
}

fn failed(subject: &Subject<'_>, explanation: &mut Explanation) {
    explanation.reason = Reason::StepFailed;
    explanation.failure = subject.state.run.last_error.clone();
    let compensation = subject.history.intents.iter().find(|intent| intent.key.target.step().is_none());
    if let Some(intent) = compensation {
        explanation.at = Some(intent.available_at);
        explanation.evidence.push(Evidence::Intent(intent.key.clone()));
    }
    // A refused successor has no step run.
    explanation.step = explanation.failure.as_ref().and_then(|failure| failure.step.clone());
    let Some(step) = explanation.step.as_ref().and_then(|step| subject.state.steps.get(step)) else { return };
    explanation.about(step, subject.history);
    let limit =
        subject.definition.and_then(|found| found.step(step.step.as_str())).map(|found| found.retry.max_attempts());
    let may_have_helped = step.last_error.as_ref().is_some_and(|failure| failure.retryable);
    if may_have_helped && limit.is_some_and(|limit| step.failures >= limit) {
        explanation.reason = Reason::RetryExhausted;
    }
}

fn paused(subject: &Subject<'_>, explanation: &mut Explanation) {
    if let Some(step) = current(subject) {
        explanation.about(step, subject.history);
    }
    explanation.reason = match (subject.definition, continuation(subject)) {
        (None, _) => Reason::PausedWithUnavailableWorkflow,
        (_, None) => Reason::PausedWithMissingResumeMetadata,
        (Some(definition), Some(continuation)) => match continuation.target_on_rejection() {
            _ if !continuation.targets_on_ok().all(|target| exists(definition, target)) => {
                Reason::PausedWithInvalidResumeTarget
            }
            Some(error) if !exists(definition, error) => Reason::PausedWithInvalidResumeTarget,
            Some(_) => Reason::PausedForApproval,
            None => Reason::PausedForManualAction,
        },
    };
}

/// Returns the step that a run is at.
fn current<'a>(subject: &Subject<'a>) -> Option<&'a StepRun> {
    subject.state.run.current_step.as_ref().and_then(|step| subject.state.steps.get(step))
}

/// Returns what follows the paused step.
fn continuation<'a>(subject: &Subject<'a>) -> Option<&'a PausedContinuation> {
    current(subject).filter(|step| step.status == StepStatus::Paused)?.continuation.as_ref()
}

/// Returns the step that waits for a signal, and the name of that signal.
fn awaited_signal<'a>(subject: &Subject<'a>) -> Option<(&'a StepRun, &'a SignalName)> {
    let mut paused = subject.state.in_status(StepStatus::Paused);
    paused.find_map(|step| Some((step, step.continuation.as_ref()?.signal.as_ref()?)))
}

/// Returns whether a version has what follows a paused step.
fn exists(definition: &Definition, target: &Target) -> bool {
    target.step().is_none_or(|step| definition.step(step.as_str()).is_some())
}

/// Explains a run that progresses by itself, by the step that is closest to doing something.
fn waiting(subject: &Subject<'_>, explanation: &mut Explanation) {
    let state = subject.state;
    explanation.waits_for = waits_for(subject);
    if let Some(step) = state.in_status(StepStatus::Running).next() {
        explanation.about(step, subject.history);
        let left = explanation.at.is_some_and(|at| at <= subject.now);
        let stranded = left && !subject.registered;
        match joining(subject).filter(|join| !stranded && waits_for_all_that_runs(subject, join)) {
            Some(join) => explanation.waiting_at(join),
            None if stranded => explanation.reason = Reason::WaitingForDefinition,
            None => explanation.reason = Reason::StepRunning,
        }
        return;
    }
    if let Some((step, signal)) = awaited_signal(subject) {
        explanation.about(step, subject.history);
        explanation.signal = Some(signal.clone());
        let expired = explanation.at.is_some_and(|at| at <= subject.now);
        explanation.reason = match expired && !subject.registered {
            true => Reason::WaitingForDefinition,
            false => Reason::WaitingForSignal,
        };
        return;
    }
    let due_at = |step: &StepRun| intent(step, subject.history).map(|intent| intent.available_at);
    let next = state.in_status(StepStatus::Pending).min_by_key(|step| due_at(step));
    if let Some(step) = next {
        explanation.about(step, subject.history);
        explanation.failure = step.last_error.clone();
    }
    if !subject.registered {
        explanation.reason = Reason::WaitingForDefinition;
        return;
    }
    if let Some(join) = joining(subject) {
        explanation.waiting_at(join);
        return;
    }
    let Some(step) = next else {
        explanation.reason = Reason::WaitingForDependencies;
        return;
    };
    explanation.attempt = Some(step.attempt + 1);
    // A step that a worker has claimed and not yet begun does not wait for a time: its intent shows the lease's
    // expiry.
    let later =
        intent(step, subject.history).is_some_and(|intent| intent.lease.is_none() && intent.available_at > subject.now);
    let timer = subject
        .definition
        .and_then(|found| found.step(step.step.as_str()))
        .is_some_and(|found| matches!(found.kind, StepKind::Wait { .. }));
    explanation.reason = match (later, step.attempt > 0) {
        (true, true) if !timer => Reason::WaitingForRetry,
        (true, _) => Reason::WaitingForTimer,
        (false, _) if state.run.status == RunStatus::Pending => Reason::PendingDispatch,
        (false, _) => Reason::StepScheduled,
    };
}

/// Returns the first unscheduled step of whose dependencies some have completed and some have not.
fn joining<'a>(subject: &Subject<'a>) -> Option<&'a StepDefinition> {
    let steps = &subject.state.steps;
    let done = |step: &StepName| steps.get(step).is_some_and(|found| found.status == StepStatus::Completed);
    let mut waiting = subject.definition?.steps().iter().filter(|step| !steps.contains_key(&step.name));
    waiting.find(|step| step.after.iter().any(done) && !step.after.iter().all(done))
}

/// Returns whether every running step is a dependency of `join`.
fn waits_for_all_that_runs(subject: &Subject<'_>, join: &StepDefinition) -> bool {
    subject.state.in_status(StepStatus::Running).all(|running| join.after.contains(&running.step))
}

/// Returns the steps that unscheduled steps wait for.
fn waits_for(subject: &Subject<'_>) -> Vec<WaitsFor> {
    let Some(definition) = subject.definition else { return Vec::new() };
    let state = |step: &StepName| subject.state.steps.get(step).map_or(StepState::Waiting, |run| run.status.into());
    let waiting = definition.steps().iter().filter(|step| !subject.state.steps.contains_key(&step.name));
    let mut named: Vec<StepName> = waiting.flat_map(|step| step.after.iter().cloned()).collect();
    named.sort();
    named.dedup();
    let all = named.into_iter().map(|step| WaitsFor { state: state(&step), step });
    all.filter(|wait| wait.state != StepState::Completed).collect()
}

/// Returns the actions that the engine would accept right now.
fn actions(subject: &Subject<'_>) -> Vec<NextAction> {
    let state = subject.state;
    let mut actions = Vec::new();
    if let Some(definition) = subject.definition {
        let paused = continuation(subject).filter(|_| state.run.status == RunStatus::Paused);
        if let Some(continuation) = paused {
            let rejection = continuation.target_on_rejection();
            let proceed = if rejection.is_some() { NextAction::Approve } else { NextAction::Unblock };
            let is_possible = continuation.targets_on_ok().all(|target| exists(definition, target));
            actions.extend(is_possible.then_some(proceed));
            let rejected = rejection.is_some_and(|target| exists(definition, target));
            actions.extend(rejected.then_some(NextAction::Reject));
        }
        let awaited = awaited_signal(subject).filter(|_| state.run.status.may_schedule());
        let receivable = awaited.is_some_and(|(_, signal)| definition.signal(signal.as_str()).is_some());
        actions.extend(receivable.then_some(NextAction::Signal));
        let cancellable = RunStatus::Cancelling != state.run.status && !state.run.status.is_terminal();
        actions.extend(cancellable.then_some(NextAction::Cancel));
    }
    if state.run.status.is_terminal() && subject.replayable {
        actions.push(match unsafe_to_replay(state).is_empty() {
            true => NextAction::Replay,
            false => NextAction::ReplayAllowingIrreversible,
        });
    }
    let resumption = match (subject.definition, subject.newest) {
        (Some(own), _) if subject.registered => Some(resumption(state, own)),
        (Some(own), Some(newest)) if subject.adoption => Some(resumption_in(state, own, newest)),
        _ => None,
    };
    if let Some(Ok(resumption)) = resumption {
        actions.push(match resumption.irreversible.is_empty() {
            true => NextAction::Resume,
            false => NextAction::ResumeAllowingIrreversible,
        });
    }
    actions
}
