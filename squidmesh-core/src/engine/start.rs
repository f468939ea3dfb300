//! Starting a run: the run and its first dispatch are one change.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::describe::DescribeJobs;
use super::dispatch::{dispatch_run, emit};
use super::dispatch_refused::DispatchRefused;
use super::{DecisionInputs, Limits, UnitOfWork};
use crate::definition::{Definition, Shape};
use crate::dispatch::DispatchOptions;
use crate::event::EventKind;
use crate::id::RunId;
use crate::name::TriggerName;
use crate::run::{AuditKind, Run, RunStatus};
use crate::time::Timestamp;

/// A run to start, with a validated payload.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// The new id of the run.
    pub id: RunId,
    /// The trigger that starts it.
    pub trigger: TriggerName,
    /// The payload, with defaults resolved.
    pub payload: Map<String, Value>,
    /// The idempotency key: a run with it is started once.
    pub idempotency_key: Option<String>,
    /// The intended time of the schedule's occurrence that starts it.
    pub intended_at: Option<Timestamp>,
    /// The run that it replays, and the actor who requested it.
    pub replay: Option<(RunId, Option<String>)>,
}

/// Starts a run: pending, with its entry steps dispatched.
///
/// # Errors
/// [`DispatchRefused`] if the entry steps cannot be dispatched; then no run is created.
pub fn start(
    definition: Arc<Definition>,
    new: NewRun,
    inputs: DecisionInputs,
    limits: Limits,
    jobs: &dyn DescribeJobs,
) -> Result<UnitOfWork, DispatchRefused> {
    let replay = new.replay.clone();
    let run = fresh(&definition, new, inputs);
    let mut work = UnitOfWork::create(definition, run, inputs, limits);
    match replay {
        None => work.emit(EventKind::RunCreated),
        Some((from, actor)) => {
            work.emit(EventKind::RunReplayed { from });
            work.audit(AuditKind::Replayed, |event| event.actor = actor);
        }
    }
    let (metadata, _) = dispatch_run(&mut work, &DispatchOptions::new().schedule_pending(), jobs)?;
    emit(&mut work, metadata);
    Ok(work)
}

/// Returns a run before anything of it is dispatched.
pub(super) fn fresh(definition: &Definition, new: NewRun, inputs: DecisionInputs) -> Run {
    let entry = match definition.shape() {
        Shape::Transitions => definition.entry_steps().first().map(|step| step.name.clone()),
        Shape::Dependencies => None,
    };
    Run {
        id: new.id,
        workflow: definition.name().clone(),
        fingerprint: *definition.fingerprint(),
        trigger: new.trigger,
        status: RunStatus::Pending,
        payload: Arc::new(new.payload),
        current_step: entry,
        last_error: None,
        replayed_from: new.replay.map(|(from, _)| from),
        resumed_from: None,
        intended_at: new.intended_at,
        idempotency_key: new.idempotency_key,
        revision: 0,
        token: inputs.token,
        created_at: inputs.now,
        updated_at: inputs.now,
        finished_at: None,
    }
}
