//! The decisions of people about a paused run, and its deadline when they do not decide in time.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::advance::{follow, follow_accepted};
use super::context;
use super::describe::DescribeJobs;
use super::dispatch::{AcceptedSuccessors, accept_successors};
use super::dispatch_refused::DispatchRefused;
use super::settle::finish_step;
use super::unit_of_work::{Allowed, UnitOfWork};
use super::way::{chosen, take};
use crate::definition::{Guard, Target, Transition, TransitionOutcome};
use crate::dispatch::{IntentKey, Refusal};
use crate::event::EventKind;
use crate::json::JsonViolation;
use crate::json::object_size;
use crate::name::StepName;
use crate::run::past_decision_text;
use crate::run::{
    AttemptStatus, AuditEvent, AuditKind, FailureKind, InvalidTransition, ManualAction, PastDecision,
    PausedContinuation, RunStatus, StepRun, StepStatus,
};
use crate::time::Timestamp;

/// A person's decision about an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalDecision {
    /// Approves: the ok transition is taken.
    Approve,
    /// Rejects: the error transition is taken.
    Reject,
}

/// What a person adds to an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribution {
    /// The person who acts.
    pub actor: Option<String>,
    /// The comment of that person.
    pub comment: Option<String>,
    /// Additional data.
    pub metadata: Option<Map<String, Value>>,
    /// The step that the action is about; if `None`, the step that waits.
    pub step: Option<String>,
}

impl Attribution {
    /// Puts the person and the comment into an entry of the audit trail.
    pub(super) fn sign(self, event: &mut AuditEvent) {
        (event.actor, event.comment, event.metadata) = (self.actor, self.comment, self.metadata);
    }
}

/// The reason why a run does not allow a command. The run is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefused {
    /// The run's status does not allow the command.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
    /// The run waits for an approval instead of being unblocked, or the other way round, or for a signal.
    #[error("step {step} waits to be {expected}")]
    OtherDecision {
        /// The step that waits.
        step: StepName,
        /// What it waits for: to be `approved or rejected`, `unblocked`, or `signalled`.
        expected: &'static str,
    },
    /// Another step waits than the one that the call named.
    #[error("step {waits} waits for a person, not step {meant:?}{}", past_decision_text(.decided))]
    OtherStep {
        /// The step that waits.
        waits: StepName,
        /// The step that was named.
        meant: String,
        /// The past decision about the step that was named.
        decided: Option<Box<PastDecision>>,
    },
    /// The decision as a whole, which becomes the output of the step, cannot be stored.
    #[error("the decision as a whole was refused: {why}")]
    Unacceptable {
        /// The step.
        step: StepName,
        /// The violated rule.
        why: JsonViolation,
    },
    /// The decision does not fit into the context of the run.
    #[error(
        "the decision takes the context of the run to {bytes} bytes, beyond its limit of {limit} bytes: shorten its comment and metadata, or cancel the run"
    )]
    ContextTooLarge {
        /// The step.
        step: StepName,
        /// The resulting size of the context, in bytes.
        bytes: usize,
        /// The maximum size: [`Config::max_context_bytes`](crate::Config::max_context_bytes).
        limit: usize,
    },
    /// The step was paused without the targets that it needs to continue.
    #[error(
        "the paused run cannot be unblocked: the paused step {step:?} was stored without the steps that may follow it"
    )]
    MissingContinuation {
        /// The step, if the run names one.
        step: Option<StepName>,
    },
    /// The step that follows does not exist in the run's version of the workflow.
    #[error(
        "the paused run cannot be unblocked: the next step {target} does not exist in the run's version of the workflow"
    )]
    InvalidTarget {
        /// The step that follows.
        target: StepName,
    },
    /// The executor refused the step that follows. The run still waits for the decision.
    #[error("nothing was decided: {refusal}")]
    ByExecutor {
        /// The step that follows.
        step: StepName,
        /// The executor's refusal.
        #[source]
        refusal: Refusal,
    },
}

/// Unblocks a paused run.
///
/// # Errors
/// [`CommandRefused`]; the run is then unchanged.
pub fn unblock(work: &mut UnitOfWork, attribution: Attribution, jobs: &dyn DescribeJobs) -> Result<(), CommandRefused> {
    let (step, continuation) = meant(work, &attribution)?;
    if continuation.error.is_some() {
        return Err(CommandRefused::OtherDecision { step, expected: "approved or rejected" });
    }
    continue_from(work, &step, &continuation, AuditKind::Unblocked, attribution, jobs)
}

/// Approves or rejects the approval that a paused run waits for.
///
/// # Errors
/// [`CommandRefused`]; the run is then unchanged.
pub fn decide(
    work: &mut UnitOfWork,
    decision: ApprovalDecision,
    attribution: Attribution,
    jobs: &dyn DescribeJobs,
) -> Result<(), CommandRefused> {
    let (step, continuation) = meant(work, &attribution)?;
    if continuation.error.is_none() {
        return Err(CommandRefused::OtherDecision { step, expected: "unblocked" });
    }
    let kind = match decision {
        ApprovalDecision::Approve => AuditKind::Approved,
        ApprovalDecision::Reject => AuditKind::Rejected,
    };
    continue_from(work, &step, &continuation, kind, attribution, jobs)
}

/// Expires an approval whose deadline has passed without a decision. Returns `false` if the paused run does not
/// wait for this step's deadline.
pub(super) fn expire(work: &mut UnitOfWork, step: &StepName, jobs: &dyn DescribeJobs) -> Allowed<bool> {
    let Ok((paused, continuation)) = paused(work, RunStatus::Running) else { return Ok(false) };
    if paused != *step || continuation.expired.is_none() {
        return Ok(false);
    }
    let output = output(AuditKind::Expired, &Attribution::default(), &continuation, work.now());
    let Some(way) = way_after(work, step, &continuation, AuditKind::Expired, &output) else { return Ok(false) };
    complete_paused(work, step, &continuation, AuditKind::Expired, Attribution::default(), &way);
    proceed(work, step, &way.to, jobs)?;
    Ok(true)
}

/// Returns the step that waits for a person, or an error if the person named another.
fn meant(work: &UnitOfWork, attribution: &Attribution) -> Result<(StepName, PausedContinuation), CommandRefused> {
    let meant = attribution.step.as_deref();
    let (step, continuation) = paused(work, RunStatus::Running).map_err(|error| match error {
        CommandRefused::InvalidTransition(error) => match (past(work, meant), awaiting_signal(work, meant)) {
            (None, Some(step)) => CommandRefused::OtherDecision { step, expected: "signalled" },
            (decided, _) => InvalidTransition { decided, ..error }.into(),
        },
        other => other,
    })?;
    match meant {
        Some(meant) if meant != step.as_str() => {
            let decided = past(work, Some(meant));
            Err(CommandRefused::OtherStep { waits: step, meant: meant.to_owned(), decided })
        }
        _ => Ok((step, continuation)),
    }
}

/// Returns the step that waits for a signal, if the person named no other.
fn awaiting_signal(work: &UnitOfWork, meant: Option<&str>) -> Option<StepName> {
    let waits = |run: &&StepRun| run.continuation.as_ref().is_some_and(|stored| stored.signal.is_some());
    let step = work.state().in_status(StepStatus::Paused).find(waits)?.step.clone();
    meant.is_none_or(|meant| step == meant).then_some(step)
}

/// Returns the last decision, or the last one about the given step.
fn past(work: &UnitOfWork, meant: Option<&str>) -> Option<Box<PastDecision>> {
    let steps = work.state().steps.values().filter(|step| meant.is_none_or(|meant| meant == step.step.as_str()));
    let last = steps.filter(|step| step.manual.is_some()).max_by_key(|step| step.sequence)?;
    let ManualAction { decision, actor, at, .. } = last.manual.clone()?;
    Some(Box::new(PastDecision { step: last.step.clone(), decision, actor, at }))
}

fn paused(work: &UnitOfWork, to: RunStatus) -> Result<(StepName, PausedContinuation), CommandRefused> {
    let run = work.run();
    if run.status != RunStatus::Paused {
        return Err(InvalidTransition { from: run.status, to, decided: None }.into());
    }
    let step = run.current_step.as_ref().and_then(|step| work.state().steps.get(step));
    match step {
        Some(step) if step.status == StepStatus::Paused => match &step.continuation {
            Some(continuation) => Ok((step.step.clone(), continuation.clone())),
            None => Err(CommandRefused::MissingContinuation { step: Some(step.step.clone()) }),
        },
        _ => Err(CommandRefused::MissingContinuation { step: run.current_step.clone() }),
    }
}

fn continue_from(
    work: &mut UnitOfWork,
    step: &StepName,
    continuation: &PausedContinuation,
    kind: AuditKind,
    attribution: Attribution,
    jobs: &dyn DescribeJobs,
) -> Result<(), CommandRefused> {
    let output = output(kind, &attribution, continuation, work.now());
    let Some(way) = way_after(work, step, continuation, kind, &output) else {
        return Err(CommandRefused::MissingContinuation { step: Some(step.clone()) });
    };
    let target = &way.to;
    if let Target::Step(next) = target
        && work.definition().step(next.as_str()).is_none()
    {
        return Err(CommandRefused::InvalidTarget { target: next.clone() });
    }
    let bytes = work.limits().json.measure_object(&output);
    let bytes = bytes.map_err(|why| CommandRefused::Unacceptable { step: step.clone(), why })?;
    if let Some(with) = context::overflow(work, step, &output, bytes) {
        return Err(CommandRefused::ContextTooLarge { step: step.clone(), bytes: with, limit: work.limits().context });
    }
    let successor = successor(work, target, jobs)?;
    complete_paused(work, step, continuation, kind, attribution, &way);
    match (target, successor) {
        (Target::Step(next), Some(successor)) => {
            work.transition(RunStatus::Running)?;
            Ok(follow_accepted(work, next, successor, jobs)?)
        }
        _ => Ok(proceed(work, step, target, jobs)?),
    }
}

/// Returns the transition that follows a decision, of those that were stored when the step was paused.
fn way_after(
    work: &UnitOfWork,
    step: &StepName,
    continuation: &PausedContinuation,
    kind: AuditKind,
    output: &Map<String, Value>,
) -> Option<Transition> {
    let of_kind = |failure: FailureKind| {
        let is_for_it =
            |found: &&Transition| matches!(&found.guard, Some(Guard::Kind(kind)) if failure == kind.as_str());
        continuation.guarded.iter().find(is_for_it)
    };
    let (on, chosen, otherwise) = match kind {
        AuditKind::Rejected => (TransitionOutcome::Error, of_kind(FailureKind::REJECTED), continuation.error.as_ref()),
        AuditKind::Expired => (TransitionOutcome::Error, of_kind(FailureKind::EXPIRED), continuation.expired.as_ref()),
        _ => {
            let guarded = continuation.guarded.iter();
            let chosen = chosen(guarded, None, work.state(), work.definition(), Some(output));
            (TransitionOutcome::Ok, chosen, Some(&continuation.ok))
        }
    };
    let plain = || Some(Transition::plain(step.clone(), on, otherwise?.clone()));
    chosen.cloned().or_else(plain)
}

/// Returns the step that follows a person's action, described by the executor before anything is changed. A
/// refusal is returned to that person, and the run waits for another action. An executor that is not available is
/// no refusal.
fn successor(
    work: &UnitOfWork,
    target: &Target,
    jobs: &dyn DescribeJobs,
) -> Result<Option<AcceptedSuccessors>, CommandRefused> {
    let Target::Step(next) = target else { return Ok(None) };
    let tolerated = |refusal: &Refusal| matches!(refusal, Refusal::Unavailable { .. });
    match accept_successors(work, std::slice::from_ref(next), None, jobs, tolerated) {
        Ok(accepted) => Ok(Some(accepted)),
        Err(DispatchRefused::ByExecutor(refusal)) => Err(CommandRefused::ByExecutor { step: next.clone(), refusal }),
        Err(_) => Err(CommandRefused::InvalidTarget { target: next.clone() }),
    }
}

/// Returns the decision as the output of the paused step.
fn output(
    kind: AuditKind,
    attribution: &Attribution,
    continuation: &PausedContinuation,
    now: Timestamp,
) -> Map<String, Value> {
    let decision = match kind {
        AuditKind::Unblocked => json!({}),
        AuditKind::Expired => json!({ "decision": kind.as_str(), "at": now }),
        _ => json!({
            "decision": kind.as_str(),
            "actor": attribution.actor,
            "comment": attribution.comment,
            "metadata": attribution.metadata,
            "at": now,
        }),
    };
    match (&continuation.output_key, decision) {
        (Some(key), decision) => Map::from_iter([(key.clone(), decision)]),
        (None, Value::Object(decision)) => decision,
        (None, _) => Map::new(),
    }
}

/// Completes the paused step with the decision.
fn complete_paused(
    work: &mut UnitOfWork,
    step: &StepName,
    continuation: &PausedContinuation,
    kind: AuditKind,
    attribution: Attribution,
    way: &Transition,
) {
    let now = work.now();
    let output = output(kind, &attribution, continuation, now);
    work.count_output(object_size(&output));
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Completed, None);
    let sequence = work.next_sequence();
    let manual = ManualAction {
        decision: kind.as_str().to_owned(),
        actor: attribution.actor.clone(),
        comment: attribution.comment.clone(),
        metadata: attribution.metadata.clone(),
        at: now,
    };
    work.change_step(step, |run| {
        run.output = Some(Arc::new(output));
        run.sequence = Some(sequence);
        run.manual = Some(manual);
    });
    finish_step(work, step, StepStatus::Completed);
    work.remove_intent(IntentKey::step(work.run().id, step.clone()));
    work.audit(kind, |event| {
        event.step = Some(step.clone());
        attribution.sign(event);
    });
    work.emit(EventKind::StepCompleted { step: step.clone(), attempt, duration });
    // The target of the deadline itself is no transition.
    let is_own = kind == AuditKind::Expired
        && way.guard.is_none()
        && (continuation.own_deadline || continuation.expired != continuation.error);
    if !is_own && continuation.guarded.iter().any(|guarded| guarded.on == way.on) {
        take(work, step, way);
    }
}

fn proceed(work: &mut UnitOfWork, from: &StepName, target: &Target, jobs: &dyn DescribeJobs) -> Allowed {
    match target {
        Target::Complete | Target::Fail => follow(work, from, target, None, jobs),
        Target::Step(_) => {
            work.transition(RunStatus::Running)?;
            follow(work, from, target, None, jobs)
        }
    }
}
