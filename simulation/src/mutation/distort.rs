//! How each mutation changes a commit.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use squidmesh_core::definition::{Definition, Guard, Shape, StepDefinition, StepKind};
use squidmesh_core::dispatch::{DispatchTarget, Intent, IntentKey};
use squidmesh_core::port::{Commit, IntentWrite, Precondition, StepWrite};
use squidmesh_core::run::{
    AttemptStatus, AuditKind, CompensationRun, CompensationStatus, InputSnapshot, RunSnapshot, StepRun, StepStatus,
};
use squidmesh_core::{Run, RunStatus};

use super::written::steps;
use super::{Mutation, signals};

impl Mutation {
    /// Changes a commit as the mutation would, given the stored run and the version that it is pinned to.
    pub fn distort(self, commit: &mut Commit, stored: Option<&RunSnapshot>, definition: Option<&Definition>) {
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
                    step.sequence = step.sequence.map(|sequence| 1_000_000_000_u64.saturating_sub(sequence));
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
                        let more = Map::from_iter([("more".to_owned(), Value::Null)]);
                        step.input = InputSnapshot::Copy(Arc::new(more));
                    }
                }
            }
            Mutation::ForgottenOutput => {
                for write in &mut commit.steps {
                    if let (StepWrite::Create(step), Some(definition)) = (write, definition)
                        && definition.step(step.step.as_str()).is_some_and(|declared| !declared.after.is_empty())
                    {
                        step.input = InputSnapshot::Copy(Arc::clone(&commit.run.payload));
                    }
                }
            }
            Mutation::LateSnapshot => {
                for write in &mut commit.steps {
                    if let StepWrite::Create(step) = write {
                        step.input = InputSnapshot::AsOf(u64::MAX);
                    }
                }
            }
            Mutation::ForgottenCopy => {
                for write in &mut commit.steps {
                    let stored = stored.and_then(|stored| stored.steps.get(&write.step().step));
                    if let (StepWrite::CopyInput(step), Some(stored)) = (&mut *write, stored) {
                        step.input = stored.input.clone();
                        *write = StepWrite::Update(step.clone());
                    }
                }
            }
            Mutation::UnauditedDecision => commit.audit.retain(|entry| {
                !matches!(entry.kind, AuditKind::Approved | AuditKind::Rejected | AuditKind::Unblocked)
            }),
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
            Mutation::LostInterruption => {
                commit.attempts.retain(|attempt| attempt.status != AttemptStatus::Interrupted);
            }
            Mutation::EndWithoutTime => {
                commit.attempts.iter_mut().for_each(|attempt| attempt.finished_at = None);
            }
            Mutation::ForeignResult => {
                for callback in steps(commit).filter_map(|step| step.compensation.as_mut()) {
                    let result = callback.output.as_mut().and_then(|output| output.get_mut("effect"));
                    if let Some(effect) = result {
                        *effect = json!(effect.as_u64().unwrap_or_default() + 1);
                    }
                }
            }
            Mutation::MixedUpDecision => {
                for manual in steps(commit).filter_map(|step| step.manual.as_mut()) {
                    if manual.decision == AuditKind::Approved.as_str() {
                        AuditKind::Rejected.as_str().clone_into(&mut manual.decision);
                    }
                }
            }
            Mutation::UnwantedCompensation => compensate_unasked(commit, stored),
            Mutation::UnknownVersion => {
                let unknown = "0".repeat(32).parse();
                if let (RunStatus::Completed, Ok(unknown)) = (commit.run.status, unknown) {
                    commit.run.fingerprint = unknown;
                }
            }
            Mutation::ReopenedStep => {
                let failed = stored.into_iter().flat_map(|state| state.steps.values());
                let failed = failed.filter(|step| step.status == StepStatus::Failed);
                for step in failed.cloned().collect::<Vec<_>>() {
                    if !steps(commit).any(|written| written.step == step.step) {
                        commit.steps.push(StepWrite::Update(StepRun { status: StepStatus::Cancelled, ..step }));
                    }
                }
            }
            Mutation::BackwardNumbers => {
                if definition.is_some_and(|definition| definition.shape() == Shape::Dependencies) {
                    steps(commit).for_each(|step| {
                        step.sequence = step.sequence.map(|sequence| 1_000_000_000_u64.saturating_sub(sequence))
                    });
                }
            }
            Mutation::ScheduledAfterwards => schedule_afterwards(commit, stored, definition),
            Mutation::OtherWay => {
                for step in steps(commit) {
                    let Some(taken) = step.taken.as_mut().filter(|taken| taken.guard.is_some()) else { continue };
                    taken.guard = None;
                }
            }
            Mutation::ForgottenWay => steps(commit).for_each(|step| step.taken = None),
            Mutation::ChosenAgain => {
                let left = stored.into_iter().flat_map(|state| state.steps.values());
                let left = left.filter_map(|step| Some((step, step.taken.as_ref()?)));
                if let Some((step, taken)) = left.min_by_key(|(step, _)| step.sequence)
                    && !steps(commit).any(|written| written.step == step.step)
                {
                    let mut again = step.clone();
                    let guard = taken.guard.is_none().then(|| Guard::Kind("other".to_owned()));
                    again.taken = Some(taken.clone()).map(|mut taken| {
                        taken.guard = guard;
                        taken
                    });
                    commit.steps.push(StepWrite::Update(again));
                }
            }
            Mutation::SignalTakenTwice => signals::keep_taken(commit, stored),
            Mutation::LostEarlySignal => signals::lose_kept(commit, stored),
            Mutation::NewestFirst => signals::take_newest(commit, stored),
            Mutation::LostSignal => signals::lose_new(commit, stored),
            Mutation::ForgottenDedup => signals::forget_keys(commit),
            Mutation::UnauditedSignal => {
                let kinds = [AuditKind::SignalReceived, AuditKind::SignalLate];
                commit.audit.retain(|entry| !kinds.contains(&entry.kind));
            }
            Mutation::UnrecordedLeftover => {
                commit.audit.retain(|entry| entry.kind != AuditKind::SignalsUnconsumed);
            }
            Mutation::MiscountedLeftover => signals::miscount(commit),
            Mutation::EventBeforeCommit
            | Mutation::ChangedInput
            | Mutation::NeverQuiet
            | Mutation::StaleRead
            | Mutation::OwnWorkTaken
            | Mutation::PanickingStore
            | Mutation::AcknowledgedNotWritten
            | Mutation::StartedTwice
            | Mutation::SkippedOccurrence
            | Mutation::EndlessLease
            | Mutation::RowsWithoutOutcome
            | Mutation::DroppedDelivery => {}
        }
    }
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

fn without_joins(commit: &mut Commit, stored: Option<&RunSnapshot>, definition: Option<&Definition>) {
    let (Some(_), Some(definition)) = (stored, definition) else { return };
    let joins: Vec<_> = definition.steps().iter().filter(|step| is_join(step)).map(|step| step.name.clone()).collect();
    commit.steps.retain(|write| !matches!(write, StepWrite::Create(step) if joins.contains(&step.step)));
    commit.intents.retain(|write| !is_added(write, |key| key.target.step().is_some_and(|step| joins.contains(step))));
}

fn early_join(commit: &mut Commit, stored: Option<&RunSnapshot>, definition: Option<&Definition>) {
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
        InputSnapshot::AsOf(0),
        early.recovery.clone(),
        now,
    )));
    let delay = Duration::ZERO;
    commit.intents.push(IntentWrite::Add(Intent { key, fingerprint, queue, priority, delay, lease: None }));
}

fn overwrite(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    if let Some(stored) = stored {
        commit.fences.clear();
        commit.precondition = Precondition::Revision(stored.run.revision);
        commit.run.revision = stored.run.revision + 1;
        commit.audit.iter_mut().for_each(|entry| entry.revision = stored.run.revision + 1);
    }
}

/// Removes the delay from the intents of the written steps for which `which` returns true.
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

/// Records a compensation that was never executed, of a completed step of a failed run that declares none.
fn compensate_unasked(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    let Some(stored) = stored.filter(|state| state.run.status == RunStatus::Failed) else { return };
    let now = commit.run.updated_at;
    let unasked = stored.steps.values().find(|step| {
        step.status == StepStatus::Completed && !step.recovery.compensated_by_handler && step.compensation.is_none()
    });
    let Some(step) = unasked.filter(|step| !steps(commit).any(|written| written.step == step.step)) else { return };
    let mut callback = CompensationRun::pending(now);
    (callback.status, callback.finished_at) = (CompensationStatus::Failed, Some(now));
    commit.steps.push(StepWrite::Update(StepRun { compensation: Some(callback), ..step.clone() }));
}

/// Adds a step that the run never reached, as one that was cancelled at once.
fn schedule_afterwards(commit: &mut Commit, stored: Option<&RunSnapshot>, definition: Option<&Definition>) {
    let (Some(stored), Some(definition)) = (stored, definition) else { return };
    if stored.run.status != RunStatus::Failed || definition.shape() != Shape::Transitions {
        return;
    }
    let reached = |step: &StepDefinition| stored.steps.contains_key(&step.name);
    let Some(declared) = definition.steps().iter().find(|step| !reached(step)) else { return };
    if steps(commit).any(|written| written.step == declared.name) {
        return;
    }
    let (step, now) = (declared.name.clone(), commit.run.updated_at);
    let mut late = StepRun::pending(step, InputSnapshot::AsOf(0), declared.recovery.clone(), now);
    (late.status, late.finished_at) = (StepStatus::Cancelled, Some(now));
    commit.steps.push(StepWrite::Create(late));
}
