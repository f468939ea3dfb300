//! Starting a run: the run and its first dispatch are one change.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::dispatch::{DescribeJobs, DispatchError, dispatch_run};
use super::{Limits, Moment, UnitOfWork};
use crate::{AuditKind, Definition, DispatchOptions, EventKind, Run, RunId, RunStatus, Shape, Timestamp, TriggerName};

/// A run to be started; its payload has been validated.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// The fresh id.
    pub id: RunId,
    /// The trigger.
    pub trigger: TriggerName,
    /// The payload, defaults resolved.
    pub payload: Map<String, Value>,
    /// The key under which it is started once.
    pub idempotency_key: Option<String>,
    /// The time of the occurrence of a schedule that it is the run of.
    pub intended_at: Option<Timestamp>,
    /// The run that it repeats, and who asked for it.
    pub replay: Option<(RunId, Option<String>)>,
}

/// Starts a run: pending, its entry dispatched.
///
/// # Errors
/// [`DispatchError`] if the entry cannot be dispatched; then there is no run.
pub fn start(
    definition: Arc<Definition>,
    new: NewRun,
    moment: Moment,
    limits: Limits,
    jobs: &dyn DescribeJobs,
) -> Result<UnitOfWork, DispatchError> {
    let replay = new.replay.clone();
    let run = fresh(&definition, new, moment);
    let mut work = UnitOfWork::create(definition, run, moment, limits);
    match replay {
        None => work.tell(EventKind::RunCreated),
        Some((from, actor)) => {
            work.tell(EventKind::RunReplayed { from });
            work.audit(AuditKind::Replayed, |event| event.actor = actor);
        }
    }
    let (metadata, _) = dispatch_run(&mut work, &DispatchOptions::new().schedule_pending(), jobs)?;
    for metadata in metadata {
        work.tell(EventKind::RunDispatched { metadata });
    }
    Ok(work)
}

/// A run as it is before anything of it is dispatched.
pub(super) fn fresh(definition: &Definition, new: NewRun, moment: Moment) -> Run {
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
        token: moment.token,
        created_at: moment.now,
        updated_at: moment.now,
        finished_at: None,
    }
}
