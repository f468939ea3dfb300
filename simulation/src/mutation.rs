//! Deliberate defects: what the runtime decides is distorted on its way into the store, to prove that it would be noticed.
//!
//! Nothing of this is in the product. Each mutation stands for a bug that a runtime like this one can have, or one of its stores.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use squidmesh_core::{
    AttemptStatus, AuditKind, Commit, CompensationStatus, Definition, DispatchTarget, Expected, Intent, IntentKey,
    IntentWrite, Run, RunState, RunStatus, Shape, StepDefinition, StepKind, StepRun, StepStatus, StepWrite,
};

use crate::check::{Violation, rules};

/// A deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A step that waits for several others is never scheduled.
    LostJoin,
    /// A step that waits for several others is scheduled as soon as one of them is done.
    EarlyJoin,
    /// An outcome is recorded whoever holds the step by then.
    UnfencedOutcome,
    /// A failure is recorded whoever holds the step by then.
    UnfencedFailure,
    /// A change that was decided on an old state overwrites a newer one.
    LostUpdate,
    /// A successor is scheduled and not dispatched, now and then.
    ForgottenIntent,
    /// What is done stays dispatched.
    LeftoverIntent,
    /// A compensation that succeeded is recorded as still to be done.
    DoubleCompensation,
    /// A compensation that is to be repeated does not wait.
    EarlyCompensation,
    /// The failures of compensations are not counted.
    UncountedCompensations,
    /// The first steps to complete are compensated first.
    ForwardCompensation,
    /// A sibling that completes after the run failed is not compensated.
    LateSiblingForgotten,
    /// A retry does not wait.
    EarlyRetry,
    /// A wait is cut short.
    ShortWait,
    /// A deadline comes at once.
    EarlyDeadline,
    /// A deadline is never dispatched.
    ForgottenDeadline,
    /// Events are told before the change is stored.
    EventBeforeCommit,
    /// A start is acknowledged, now and then, and not stored.
    AcknowledgedNotWritten,
    /// Failures are not counted.
    UncountedFailures,
    /// The deaths of workers are not counted.
    UncountedCrashes,
    /// A failed attempt is not recorded.
    LostAttempt,
    /// A failed attempt is recorded as completed.
    FailureAsSuccess,
    /// An output is lost.
    LostOutput,
    /// The snapshot of the input is changed as it is stored.
    ChangedSnapshot,
    /// A step is not given what the steps gave that it depends on.
    ForgottenOutput,
    /// A decision is not written to the trail.
    UnauditedDecision,
    /// A cancellation is confirmed and has no effect.
    LostCancellation,
    /// What is cancelled stays dispatched.
    CancelledGoesOn,
    /// A run is started twice.
    StartedTwice,
    /// An idempotency key is not stored.
    LostKey,
    /// An occurrence of a schedule is started without its key.
    OccurrenceTwice,
    /// A schedule moves on further than it was dealt with.
    SkippedOccurrence,
    /// A lease never runs out.
    EndlessLease,
    /// The rows of a transactional step are committed without its outcome.
    RowsWithoutOutcome,
    /// A run is adopted without a trace.
    SilentAdoption,
    /// A completed run is recorded as running.
    EndlessRun,
    /// A failed run does not say why.
    UnexplainedFailure,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 37] = [
        Mutation::LostJoin,
        Mutation::EarlyJoin,
        Mutation::UnfencedOutcome,
        Mutation::UnfencedFailure,
        Mutation::LostUpdate,
        Mutation::ForgottenIntent,
        Mutation::LeftoverIntent,
        Mutation::DoubleCompensation,
        Mutation::EarlyCompensation,
        Mutation::UncountedCompensations,
        Mutation::ForwardCompensation,
        Mutation::LateSiblingForgotten,
        Mutation::EarlyRetry,
        Mutation::ShortWait,
        Mutation::EarlyDeadline,
        Mutation::ForgottenDeadline,
        Mutation::EventBeforeCommit,
        Mutation::AcknowledgedNotWritten,
        Mutation::UncountedFailures,
        Mutation::UncountedCrashes,
        Mutation::LostAttempt,
        Mutation::FailureAsSuccess,
        Mutation::LostOutput,
        Mutation::ChangedSnapshot,
        Mutation::ForgottenOutput,
        Mutation::UnauditedDecision,
        Mutation::LostCancellation,
        Mutation::CancelledGoesOn,
        Mutation::StartedTwice,
        Mutation::LostKey,
        Mutation::OccurrenceTwice,
        Mutation::SkippedOccurrence,
        Mutation::EndlessLease,
        Mutation::RowsWithoutOutcome,
        Mutation::SilentAdoption,
        Mutation::EndlessRun,
        Mutation::UnexplainedFailure,
    ];

    /// The rules that are about it: one of them has to notice it.
    pub fn noticed_by(self) -> &'static [&'static str] {
        match self {
            Mutation::LostJoin | Mutation::EarlyJoin => &[rules::JOINS],
            Mutation::UnfencedOutcome | Mutation::UnfencedFailure => &[rules::FENCED],
            Mutation::LostUpdate => &[rules::FINAL],
            Mutation::ForgottenIntent
            | Mutation::LeftoverIntent
            | Mutation::LateSiblingForgotten
            | Mutation::ForgottenDeadline
            | Mutation::CancelledGoesOn => &[rules::INTENTS],
            Mutation::DoubleCompensation | Mutation::EarlyCompensation | Mutation::UncountedCompensations => {
                &[rules::CALLBACKS]
            }
            Mutation::ForwardCompensation => &[rules::COMPENSATIONS],
            Mutation::EarlyRetry | Mutation::ShortWait | Mutation::EarlyDeadline => &[rules::TIMES],
            Mutation::EventBeforeCommit => &[rules::EVENTS],
            Mutation::AcknowledgedNotWritten | Mutation::LostKey => &[rules::STARTS],
            Mutation::UncountedFailures | Mutation::UncountedCrashes => &[rules::LIMITS],
            Mutation::LostAttempt => &[rules::NUMBERS],
            Mutation::FailureAsSuccess | Mutation::LostOutput => &[rules::RESULTS],
            Mutation::ChangedSnapshot => &[rules::INPUTS],
            Mutation::ForgottenOutput => &[rules::SNAPSHOTS],
            Mutation::UnauditedDecision => &[rules::DECISIONS],
            Mutation::LostCancellation => &[rules::LIVES, rules::CANCELS],
            Mutation::StartedTwice => &[rules::ANSWERS],
            Mutation::OccurrenceTwice => &[rules::OCCURRENCES],
            Mutation::SkippedOccurrence => &[rules::SCHEDULES],
            Mutation::EndlessLease => &[rules::RESTLESS],
            Mutation::RowsWithoutOutcome => &[rules::ROWS],
            Mutation::SilentAdoption => &[rules::MOVES],
            Mutation::EndlessRun => &[rules::REST],
            Mutation::UnexplainedFailure => &[rules::LIVES],
        }
    }

    /// Whether one of these is of a rule that is about it.
    pub(crate) fn is_noticed(self, violations: &[Violation]) -> bool {
        violations.iter().any(|violation| self.noticed_by().contains(&violation.rule))
    }

    /// A second run that is started beside one that a client starts without a key.
    pub(crate) fn second(self, commit: &Commit) -> Option<Commit> {
        let run = &commit.run;
        let other = run.replayed_from.is_some() || run.resumed_from.is_some() || run.idempotency_key.is_some();
        if self != Mutation::StartedTwice || commit.expected != Expected::New || other {
            return None;
        }
        let mut second = commit.clone();
        let mut id = run.id.to_string();
        let last = id.pop()?;
        id.push(if last == '0' { '1' } else { '0' });
        second.run.id = id.parse().ok()?;
        for write in &mut second.intents {
            if let IntentWrite::Add(intent) | IntentWrite::Replace(intent) = write {
                intent.key.run_id = second.run.id;
            }
        }
        Some(second)
    }

    /// Whether a commit is answered as applied without having been.
    pub(crate) fn lies_about(self, commit: &Commit) -> bool {
        match self {
            Mutation::EventBeforeCommit => true,
            Mutation::AcknowledgedNotWritten => {
                commit.expected == Expected::New && commit.run.id.as_uuid().as_u128().is_multiple_of(4)
            }
            _ => false,
        }
    }

    /// Changes a commit as the defect would, given what is stored of the run and the version that it is pinned to.
    pub fn distort(self, commit: &mut Commit, stored: Option<&RunState>, definition: Option<&Definition>) {
        match self {
            Mutation::LostJoin => without_joins(commit, stored, definition),
            Mutation::EarlyJoin => early_join(commit, stored, definition),
            Mutation::UnfencedOutcome => commit.fences.clear(),
            Mutation::UnfencedFailure => {
                if commit.attempts.iter().any(|attempt| attempt.status == AttemptStatus::Failed) {
                    commit.fences.clear();
                }
            }
            Mutation::LostUpdate => overwrite(commit, stored),
            Mutation::ForgottenIntent => {
                if stored.is_some() && commit.run.revision.is_multiple_of(3) {
                    commit.intents.retain(|write| !matches!(write, IntentWrite::Add(_)));
                }
            }
            Mutation::LeftoverIntent => {
                commit.intents.retain(
                    |write| !matches!(write, IntentWrite::Remove(key) if key.target != DispatchTarget::Compensation),
                );
            }
            Mutation::DoubleCompensation => {
                for callback in steps(commit).filter_map(|step| step.compensation.as_mut()) {
                    if callback.status == CompensationStatus::Completed && callback.attempt == 1 {
                        callback.status = CompensationStatus::Pending;
                        (callback.finished_at, callback.output) = (None, None);
                    }
                }
            }
            Mutation::EarlyCompensation => {
                for write in &mut commit.intents {
                    if let IntentWrite::Replace(intent) = write
                        && intent.key.target == DispatchTarget::Compensation
                    {
                        intent.delay = Duration::ZERO;
                    }
                }
            }
            Mutation::UncountedCompensations => {
                steps(commit).filter_map(|step| step.compensation.as_mut()).for_each(|callback| callback.failures = 0);
            }
            Mutation::ForwardCompensation => {
                for step in steps(commit) {
                    step.sequence = step.sequence.map(|sequence| 1_000 - sequence);
                }
            }
            Mutation::LateSiblingForgotten => {
                if stored.is_some_and(|state| state.run.status == RunStatus::Failed) {
                    commit.intents.retain(|write| !is_added(write, |key| key.target == DispatchTarget::Compensation));
                }
            }
            Mutation::EarlyRetry => at_once(commit, |step, _| step.status == StepStatus::Pending && step.failures > 0),
            Mutation::ShortWait => at_once_of(commit, definition, |kind| matches!(kind, StepKind::Wait { .. })),
            Mutation::EarlyDeadline => at_once(commit, |step, _| step.status == StepStatus::Paused),
            Mutation::ForgottenDeadline => {
                let paused: Vec<_> = steps(commit)
                    .filter(|step| step.status == StepStatus::Paused)
                    .map(|step| step.step.clone())
                    .collect();
                commit.intents.retain(|write| {
                    !is_added(write, |key| key.target.step().is_some_and(|step| paused.contains(step)))
                });
            }
            Mutation::UncountedFailures => steps(commit).for_each(|step| step.failures = 0),
            Mutation::UncountedCrashes => steps(commit).for_each(|step| step.crashes = 0),
            Mutation::LostAttempt => commit.attempts.retain(|attempt| attempt.status != AttemptStatus::Failed),
            Mutation::FailureAsSuccess => {
                for attempt in &mut commit.attempts {
                    if attempt.status == AttemptStatus::Failed {
                        attempt.status = AttemptStatus::Completed;
                    }
                }
            }
            Mutation::LostOutput => {
                for step in steps(commit).filter(|step| step.output.is_some()) {
                    step.output = Some(Arc::default());
                }
            }
            Mutation::ChangedSnapshot => {
                for write in &mut commit.steps {
                    if let StepWrite::Create(step) = write {
                        let mut input: Map<String, Value> = (*step.input).clone();
                        input.insert("more".to_owned(), Value::Null);
                        step.input = Arc::new(input);
                    }
                }
            }
            Mutation::ForgottenOutput => {
                for write in &mut commit.steps {
                    if let (StepWrite::Create(step), Some(definition)) = (write, definition)
                        && definition.step(step.step.as_str()).is_some_and(|declared| !declared.after.is_empty())
                    {
                        step.input = Arc::clone(&commit.run.payload);
                    }
                }
            }
            Mutation::UnauditedDecision => commit
                .audit
                .retain(|entry| !matches!(entry.kind, AuditKind::Approved | AuditKind::Rejected | AuditKind::Resumed)),
            Mutation::LostCancellation => {
                if let Some(stored) = stored.filter(|_| commit.run.status == RunStatus::Cancelling) {
                    commit.run.status = stored.run.status;
                    commit.steps.clear();
                    commit.intents.clear();
                }
            }
            Mutation::CancelledGoesOn => {
                if audited(commit, AuditKind::Cancelled) {
                    commit.intents.clear();
                }
            }
            Mutation::LostKey => without_key(&mut commit.run, |key| key.starts_with("key")),
            Mutation::OccurrenceTwice => without_key(&mut commit.run, |key| key.starts_with("cron")),
            Mutation::SilentAdoption => commit.audit.retain(|entry| entry.kind != AuditKind::Adopted),
            Mutation::EndlessRun => {
                if commit.run.status == RunStatus::Completed {
                    commit.run.status = RunStatus::Running;
                    commit.run.finished_at = None;
                }
            }
            Mutation::UnexplainedFailure => commit.run.last_error = None,
            Mutation::EventBeforeCommit
            | Mutation::AcknowledgedNotWritten
            | Mutation::StartedTwice
            | Mutation::SkippedOccurrence
            | Mutation::EndlessLease
            | Mutation::RowsWithoutOutcome => {}
        }
    }
}

fn steps(commit: &mut Commit) -> impl Iterator<Item = &mut StepRun> {
    commit.steps.iter_mut().map(|write| {
        let (StepWrite::Create(step) | StepWrite::Update(step)) = write;
        step
    })
}

fn audited(commit: &Commit, kind: AuditKind) -> bool {
    commit.audit.iter().any(|entry| entry.kind == kind)
}

fn is_added(write: &IntentWrite, which: impl Fn(&IntentKey) -> bool) -> bool {
    matches!(write, IntentWrite::Add(intent) | IntentWrite::Replace(intent) if which(&intent.key))
}

fn without_key(run: &mut Run, which: impl Fn(&str) -> bool) {
    if run.idempotency_key.as_deref().is_some_and(which) {
        run.idempotency_key = None;
    }
}

fn is_join(declared: &StepDefinition) -> bool {
    declared.after.len() > 1
}

fn without_joins(commit: &mut Commit, stored: Option<&RunState>, definition: Option<&Definition>) {
    let (Some(_), Some(definition)) = (stored, definition) else { return };
    let joins: Vec<_> = definition.steps().iter().filter(|step| is_join(step)).map(|step| step.name.clone()).collect();
    commit.steps.retain(|write| !matches!(write, StepWrite::Create(step) if joins.contains(&step.step)));
    commit.intents.retain(|write| !is_added(write, |key| key.target.step().is_some_and(|step| joins.contains(step))));
}

fn early_join(commit: &mut Commit, stored: Option<&RunState>, definition: Option<&Definition>) {
    let (Some(stored), Some(definition)) = (stored, definition) else { return };
    if definition.shape() != Shape::Dependencies || !commit.run.status.may_schedule() {
        return;
    }
    let done: Vec<_> =
        steps(commit).filter(|step| step.status == StepStatus::Completed).map(|step| step.step.clone()).collect();
    let known = |step: &StepDefinition| {
        stored.steps.contains_key(&step.name)
            || commit.steps.iter().any(|write| matches!(write, StepWrite::Create(new) if new.step == step.name))
    };
    let early = definition
        .steps()
        .iter()
        .find(|step| is_join(step) && !known(step) && step.after.iter().any(|needed| done.contains(needed)));
    let Some(early) = early else { return };
    let (key, now) = (IntentKey::step(commit.run.id, early.name.clone()), commit.run.updated_at);
    let (queue, priority, fingerprint) = (early.queue.clone(), early.priority, *definition.fingerprint());
    commit.steps.push(StepWrite::Create(StepRun::pending(
        early.name.clone(),
        Arc::default(),
        early.recovery.clone(),
        now,
    )));
    let delay = Duration::ZERO;
    commit.intents.push(IntentWrite::Add(Intent { key, fingerprint, queue, priority, delay, lease: None }));
}

fn overwrite(commit: &mut Commit, stored: Option<&RunState>) {
    if let Some(stored) = stored {
        commit.fences.clear();
        commit.expected = Expected::Revision(stored.run.revision);
        commit.run.revision = stored.run.revision + 1;
        commit.audit.iter_mut().for_each(|entry| entry.revision = stored.run.revision + 1);
    }
}

/// Takes the delay off the intents of steps that a commit leaves in some state.
fn at_once(commit: &mut Commit, which: impl Fn(&StepRun, &Intent) -> bool) {
    let written: Vec<StepRun> = steps(commit).map(|step| step.clone()).collect();
    for write in &mut commit.intents {
        let (IntentWrite::Add(intent) | IntentWrite::Replace(intent)) = write else { continue };
        let step = written.iter().find(|step| intent.key.target.step() == Some(&step.step));
        if intent.lease.is_none() && step.is_some_and(|step| which(step, intent)) {
            intent.delay = Duration::ZERO;
        }
    }
}

fn at_once_of(commit: &mut Commit, definition: Option<&Definition>, which: impl Fn(&StepKind) -> bool) {
    at_once(commit, |step, _| {
        let declared = definition.and_then(|definition| definition.step(step.step.as_str()));
        declared.is_some_and(|declared| which(&declared.kind))
    });
}
