//! Why a run is where it is: one reason, what it waits for, what could be done, and where that is recorded.

use serde::Serialize;

use crate::engine::{Difference, differences, resumption, resumption_in, unsafe_to_replay};
use crate::{
    Definition, Failure, Fingerprint, History, IntentKey, IntentRecord, RunId, RunState, RunStatus, StepKind, StepName,
    StepRun, StepState, StepStatus, Target, Timestamp,
};

/// Why a run is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Its first step is dispatched and not yet taken up.
    PendingDispatch,
    /// A step is due and not yet taken up.
    StepScheduled,
    /// A step runs.
    StepRunning,
    /// Steps wait for others.
    WaitingForDependencies,
    /// A failed step waits for its next attempt.
    WaitingForRetry,
    /// A step falls due at a time.
    WaitingForTimer,
    /// The version of the workflow that the run is pinned to is not registered here.
    WaitingForDefinition,
    /// A step failed as often as it may.
    RetryExhausted,
    /// A step, or the way on from it, failed for good.
    StepFailed,
    /// A pause step waits for somebody to let the run go on.
    PausedForManualAction,
    /// An approval waits for a decision.
    PausedForApproval,
    /// The run is paused, and it is not recorded how it goes on.
    PausedWithMissingResumeMetadata,
    /// The run is paused, and the step that is to follow does not exist.
    PausedWithInvalidResumeTarget,
    /// The run is paused, and its version of the workflow is neither registered nor stored.
    PausedWithUnavailableWorkflow,
    /// It is being cancelled; a running step is awaited.
    Cancelling,
    /// It was cancelled.
    Cancelled,
    /// It is done.
    Completed,
}

/// Something that may be done to a run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextAction {
    /// Cancel it.
    Cancel,
    /// Let it go on.
    Unblock,
    /// Approve.
    Approve,
    /// Reject.
    Reject,
    /// Start it anew from its payload.
    Replay,
    /// The same, but what cannot be undone would be done again: it has to be allowed explicitly.
    ReplayAllowingIrreversible,
    /// Start a run that goes on from where this one failed.
    Resume,
    /// The same, but a step whose effect cannot be undone would be tried again: it has to be allowed explicitly.
    ResumeAllowingIrreversible,
}

/// A step that something waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitsFor {
    /// The step.
    pub step: StepName,
    /// Where it is.
    pub state: StepState,
}

/// Where a statement of an explanation is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The run, at this revision.
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
        /// Its number.
        number: u32,
    },
    /// A live intent.
    Intent(IntentKey),
}

/// Why a run is where it is, and what could be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The run.
    pub run_id: RunId,
    /// Its status.
    pub status: RunStatus,
    /// The reason.
    pub reason: Reason,
    /// The step that it is about.
    pub step: Option<StepName>,
    /// The attempt that runs, failed last, or comes next.
    pub attempt: Option<u32>,
    /// When the step falls due, or when the lease on it runs out; the deadline of an approval; when the compensation of a failed
    /// run goes on.
    pub at: Option<Timestamp>,
    /// What is waited for.
    pub waits_for: Vec<WaitsFor>,
    /// What went wrong, where something did.
    pub failure: Option<Failure>,
    /// What would be accepted right now.
    pub actions: Vec<NextAction>,
    /// Where it is recorded.
    pub evidence: Vec<Evidence>,
    /// What there is in place of the run's version, where that is not registered here and something is left to be done.
    pub definition: Option<MissingVersion>,
}

/// A version of a workflow that is not registered here, and what could take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingVersion {
    /// The version that the run is pinned to.
    pub version: Fingerprint,
    /// The newest registered version of the workflow; `None` if there is none.
    pub newest: Option<Fingerprint>,
    /// Whether the host allows that one to adopt runs.
    pub adoption: bool,
    /// What keeps the newest version from adopting this run. Empty if it could; or if there is no such version, or the run's is
    /// not stored either.
    pub differences: Vec<Difference>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The run and its step runs.
    pub state: &'a RunState,
    /// Its version of the workflow, if it is registered or stored.
    pub definition: Option<&'a Definition>,
    /// Whether this process can carry that version out.
    pub registered: bool,
    /// Whether this process could start the workflow anew.
    pub replayable: bool,
    /// The newest registered version of the workflow.
    pub newest: Option<&'a Definition>,
    /// Whether the newest version may adopt runs.
    pub adoption: bool,
    /// Its attempts, audit trail and intents.
    pub history: &'a History,
    /// The time.
    pub now: Timestamp,
}

/// Explains a run.
pub fn explain(subject: &Subject<'_>) -> Explanation {
    let run = &subject.state.run;
    let mut told = Explanation {
        run_id: run.id,
        status: run.status,
        reason: Reason::Completed,
        step: None,
        attempt: None,
        at: None,
        waits_for: Vec::new(),
        failure: None,
        actions: actions(subject),
        evidence: vec![Evidence::Run { revision: run.revision }],
        definition: missing_version(subject),
    };
    match run.status {
        RunStatus::Completed => {}
        RunStatus::Cancelled => told.reason = Reason::Cancelled,
        RunStatus::Cancelling => {
            told.reason = Reason::Cancelling;
            if let Some(step) = subject.state.in_status(StepStatus::Running).next() {
                told.about(step, subject.history);
            }
        }
        RunStatus::Failed => failed(subject, &mut told),
        RunStatus::Paused => paused(subject, &mut told),
        RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => waiting(subject, &mut told),
    }
    told
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
    fn about(&mut self, step: &StepRun, history: &History) {
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
}

fn intent<'a>(step: &StepRun, history: &'a History) -> Option<&'a IntentRecord> {
    history.intents.iter().find(|intent| intent.key.target.step() == Some(&step.step))
}

fn failed(subject: &Subject<'_>, told: &mut Explanation) {
    told.reason = Reason::StepFailed;
    told.failure = subject.state.run.last_error.clone();
    let compensation = subject.history.intents.iter().find(|intent| intent.key.target.step().is_none());
    if let Some(intent) = compensation {
        told.at = Some(intent.available_at);
        told.evidence.push(Evidence::Intent(intent.key.clone()));
    }
    let step = told.failure.as_ref().and_then(|failure| failure.step.as_ref());
    let Some(step) = step.and_then(|step| subject.state.steps.get(step)) else { return };
    told.about(step, subject.history);
    let limit =
        subject.definition.and_then(|found| found.step(step.step.as_str())).map(|found| found.retry.max_attempts());
    let may_have_helped = step.last_error.as_ref().is_some_and(|failure| failure.retryable);
    if may_have_helped && limit.is_some_and(|limit| step.failures >= limit) {
        told.reason = Reason::RetryExhausted;
    }
}

fn paused(subject: &Subject<'_>, told: &mut Explanation) {
    let step = subject.state.run.current_step.as_ref().and_then(|step| subject.state.steps.get(step));
    if let Some(step) = step {
        told.about(step, subject.history);
    }
    let resume = step.filter(|step| step.status == StepStatus::Paused).and_then(|step| step.resume.as_ref());
    told.reason = match (subject.definition, resume) {
        (None, _) => Reason::PausedWithUnavailableWorkflow,
        (_, None) => Reason::PausedWithMissingResumeMetadata,
        (Some(definition), Some(resume)) => {
            let missing = |target: &Target| match target {
                Target::Step(step) => definition.step(step.as_str()).is_none(),
                Target::Complete => false,
            };
            match &resume.error {
                _ if missing(&resume.ok) || resume.error.as_ref().is_some_and(missing) => {
                    Reason::PausedWithInvalidResumeTarget
                }
                Some(_) => Reason::PausedForApproval,
                None => Reason::PausedForManualAction,
            }
        }
    };
}

/// A run that goes on by itself: told is what is nearest to doing something.
fn waiting(subject: &Subject<'_>, told: &mut Explanation) {
    let state = subject.state;
    if let Some(step) = state.in_status(StepStatus::Running).next() {
        told.about(step, subject.history);
        let left = told.at.is_some_and(|at| at <= subject.now);
        let waits = left && !subject.registered;
        told.reason = if waits { Reason::WaitingForDefinition } else { Reason::StepRunning };
        return;
    }
    let due_at = |step: &StepRun| intent(step, subject.history).map(|intent| intent.available_at);
    let next = state.in_status(StepStatus::Pending).min_by_key(|step| due_at(step));
    if let Some(step) = next {
        told.about(step, subject.history);
        told.failure = step.last_error.clone();
    }
    if !subject.registered {
        told.reason = Reason::WaitingForDefinition;
        return;
    }
    let Some(step) = next else {
        told.reason = Reason::WaitingForDependencies;
        told.waits_for = waits_for(subject);
        return;
    };
    told.attempt = Some(step.attempt + 1);
    // What a worker has claimed and not yet begun is in hand, whatever the time at which its lease runs out.
    let later =
        intent(step, subject.history).is_some_and(|intent| intent.lease.is_none() && intent.available_at > subject.now);
    let timer = subject
        .definition
        .and_then(|found| found.step(step.step.as_str()))
        .is_some_and(|found| matches!(found.kind, StepKind::Wait { .. }));
    told.reason = match (later, step.attempt > 0) {
        (true, true) if !timer => Reason::WaitingForRetry,
        (true, _) => Reason::WaitingForTimer,
        (false, _) if state.run.status == RunStatus::Pending => Reason::PendingDispatch,
        (false, _) => Reason::StepScheduled,
    };
}

/// What the steps that have not been scheduled wait for.
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

/// What would be accepted right now: exactly what the engine accepts.
fn actions(subject: &Subject<'_>) -> Vec<NextAction> {
    let state = subject.state;
    let mut actions = Vec::new();
    if subject.definition.is_some() {
        if state.run.status == RunStatus::Paused {
            let step = state.run.current_step.as_ref().and_then(|step| state.steps.get(step));
            let resume = step.filter(|step| step.status == StepStatus::Paused).and_then(|step| step.resume.as_ref());
            let exists = |target: &Target| match target {
                Target::Step(step) => subject.definition.is_some_and(|found| found.step(step.as_str()).is_some()),
                Target::Complete => true,
            };
            if let Some(resume) = resume {
                match &resume.error {
                    None if exists(&resume.ok) => actions.push(NextAction::Unblock),
                    None => {}
                    Some(error) => {
                        actions.extend(exists(&resume.ok).then_some(NextAction::Approve));
                        actions.extend(exists(error).then_some(NextAction::Reject));
                    }
                }
            }
        }
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
