//! What people decide about a paused run, and what follows when they do not in time.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::UnitOfWork;
use super::advance::follow;
use super::dispatch::DescribeJobs;
use crate::{
    AttemptStatus, AuditKind, EventKind, IntentKey, InvalidTransition, JsonViolation, ManualAction, Resume, RunStatus,
    StepName, StepStatus, Target, Timestamp,
};

/// What a person says of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Approve,
    /// Take the error route.
    Reject,
}

/// What a person adds to an act.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// Who.
    pub actor: Option<String>,
    /// What they say.
    pub comment: Option<String>,
    /// What else they give.
    pub metadata: Option<Map<String, Value>>,
    /// The step that they mean; whichever waits, if they do not say.
    pub step: Option<String>,
}

/// Why a paused run could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManualError {
    /// The run is not paused.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
    /// The run waits for an approval, not for being unblocked; or the other way round.
    #[error("step {step} waits to be {expected}")]
    OtherDecision {
        /// The step.
        step: StepName,
        /// What it waits for: `approved or rejected`, or `unblocked`.
        expected: &'static str,
    },
    /// Another step waits than the one that is meant.
    #[error("step {waits} waits for a person, not step {meant:?}")]
    OtherStep {
        /// The step that waits.
        waits: StepName,
        /// The step that is meant.
        meant: String,
    },
    /// What a person gives is the output of the step, and as that it cannot be kept.
    #[error("the decision as a whole, which is the output of step {step}, was refused: {why}")]
    Unacceptable {
        /// The step.
        step: StepName,
        /// Why.
        why: JsonViolation,
    },
    /// The step was paused without what is needed to go on.
    #[error("the paused step {step:?} does not say how the run goes on")]
    MissingResume {
        /// The step, if the run names one.
        step: Option<StepName>,
    },
    /// The step that was to follow does not exist in the run's version of the workflow.
    #[error("step {target} was to follow, but the workflow has no such step")]
    InvalidTarget {
        /// The step that was to follow.
        target: StepName,
    },
}

/// Lets a paused run go on.
///
/// # Errors
/// [`ManualError`]; the run is then as it was.
pub fn unblock(work: &mut UnitOfWork, decided: Decided, jobs: &dyn DescribeJobs) -> Result<(), ManualError> {
    let (step, resume) = meant(work, &decided)?;
    if resume.error.is_some() {
        return Err(ManualError::OtherDecision { step, expected: "approved or rejected" });
    }
    let target = resume.ok.clone();
    go_on(work, &step, &resume, &target, AuditKind::Resumed, decided, jobs)
}

/// Approves or rejects the approval that a paused run waits for.
///
/// # Errors
/// [`ManualError`]; the run is then as it was.
pub fn decide(
    work: &mut UnitOfWork,
    verdict: Verdict,
    decided: Decided,
    jobs: &dyn DescribeJobs,
) -> Result<(), ManualError> {
    let (step, resume) = meant(work, &decided)?;
    let Some(error) = resume.error.clone() else {
        return Err(ManualError::OtherDecision { step, expected: "unblocked" });
    };
    let (target, kind) = match verdict {
        Verdict::Approve => (resume.ok.clone(), AuditKind::Approved),
        Verdict::Reject => (error, AuditKind::Rejected),
    };
    go_on(work, &step, &resume, &target, kind, decided, jobs)
}

/// Takes the way on of an approval whose deadline has passed without a decision. `false`: the paused run does not wait for
/// this step's deadline.
pub(super) fn expire(
    work: &mut UnitOfWork,
    step: &StepName,
    jobs: &dyn DescribeJobs,
) -> Result<bool, InvalidTransition> {
    let Ok((paused, resume)) = paused(work, RunStatus::Running) else { return Ok(false) };
    let Some(target) = resume.expired.clone().filter(|_| paused == *step) else { return Ok(false) };
    settle(work, step, &resume, AuditKind::Expired, Decided::default());
    proceed(work, &target, jobs)?;
    Ok(true)
}

/// The step that waits for a person, who may have meant another.
fn meant(work: &UnitOfWork, decided: &Decided) -> Result<(StepName, Resume), ManualError> {
    let (step, resume) = paused(work, RunStatus::Running)?;
    match &decided.step {
        Some(meant) if meant != step.as_str() => Err(ManualError::OtherStep { waits: step, meant: meant.clone() }),
        _ => Ok((step, resume)),
    }
}

fn paused(work: &UnitOfWork, to: RunStatus) -> Result<(StepName, Resume), ManualError> {
    let run = work.run();
    if run.status != RunStatus::Paused {
        return Err(InvalidTransition { from: run.status, to }.into());
    }
    let step = run.current_step.as_ref().and_then(|step| work.state().steps.get(step));
    match step {
        Some(step) if step.status == StepStatus::Paused => match &step.resume {
            Some(resume) => Ok((step.step.clone(), resume.clone())),
            None => Err(ManualError::MissingResume { step: Some(step.step.clone()) }),
        },
        _ => Err(ManualError::MissingResume { step: run.current_step.clone() }),
    }
}

fn go_on(
    work: &mut UnitOfWork,
    step: &StepName,
    resume: &Resume,
    target: &Target,
    kind: AuditKind,
    decided: Decided,
    jobs: &dyn DescribeJobs,
) -> Result<(), ManualError> {
    if let Target::Step(next) = target
        && work.definition().step(next.as_str()).is_none()
    {
        return Err(ManualError::InvalidTarget { target: next.clone() });
    }
    let output = output(kind, &decided, resume, work.now());
    work.limits().json.check(&output).map_err(|why| ManualError::Unacceptable { step: step.clone(), why })?;
    settle(work, step, resume, kind, decided);
    Ok(proceed(work, target, jobs)?)
}

/// What was decided, as the output of the paused step.
fn output(kind: AuditKind, decided: &Decided, resume: &Resume, now: Timestamp) -> Value {
    let output = match kind {
        AuditKind::Resumed => json!({}),
        AuditKind::Expired => json!({ "decision": kind.as_str(), "at": now }),
        _ => json!({
            "decision": kind.as_str(),
            "actor": decided.actor,
            "comment": decided.comment,
            "metadata": decided.metadata,
            "at": now,
        }),
    };
    match &resume.output_key {
        Some(key) => Value::Object(Map::from_iter([(key.clone(), output)])),
        None => output,
    }
}

/// Completes the paused step with what was decided.
fn settle(work: &mut UnitOfWork, step: &StepName, resume: &Resume, kind: AuditKind, decided: Decided) {
    let now = work.now();
    let output = match output(kind, &decided, resume, now) {
        Value::Object(output) => output,
        _ => Map::new(),
    };
    let Decided { actor, comment, metadata, .. } = decided;
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Completed, None);
    let sequence = work.next_sequence();
    let manual = ManualAction {
        decision: kind.as_str().to_owned(),
        actor: actor.clone(),
        comment: comment.clone(),
        metadata: metadata.clone(),
        at: now,
    };
    work.change_step(step, |run| {
        run.status = StepStatus::Completed;
        run.output = Some(Arc::new(output));
        run.sequence = Some(sequence);
        run.manual = Some(manual);
        run.finished_at = Some(now);
    });
    work.remove_intent(IntentKey::step(work.run().id, step.clone()));
    work.audit(kind, |event| {
        event.step = Some(step.clone());
        event.actor = actor;
        event.comment = comment;
        event.metadata = metadata;
    });
    work.tell(EventKind::StepCompleted { step: step.clone(), attempt, duration });
}

fn proceed(work: &mut UnitOfWork, target: &Target, jobs: &dyn DescribeJobs) -> Result<(), InvalidTransition> {
    match target {
        Target::Complete => work.transition(RunStatus::Completed),
        Target::Step(_) => {
            work.transition(RunStatus::Running)?;
            follow(work, target, None, jobs)
        }
    }
}
