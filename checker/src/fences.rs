//! The outcome of an attempt is recorded by the worker that holds the step; only its loss is recorded by another,
//! which took it over.

use std::collections::BTreeMap;

use squidmesh_core::definition::StepName;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::port::{IntentWrite, LeaseToken};
use squidmesh_core::run::{AttemptStatus, CompensationStatus, FailureKind, StepStatus};

use crate::change::{Change, begun, ended, written};
use crate::findings::Findings;
use crate::life_cycle;
use crate::tries::{End, end};

pub(super) fn check_change(change: &Change<'_>, findings: &mut Findings) {
    let id = change.after.run.id;
    let held = held(change);
    let holder = |step: &StepName| held.get(&IntentKey::step(id, step.clone())).copied();
    for step in begun(change.commit, change.before).filter(|step| step.status == StepStatus::Running) {
        findings.demand(step.lease.is_some() && holder(&step.step) == step.lease, id, || {
            let holder = holder(&step.step);
            format!("attempt {} of {} began under {:?}, and {holder:?} holds it", step.attempt, step.step, step.lease)
        });
    }
    for attempt in ended(change.commit, change.before) {
        let old = change.before.and_then(|before| before.steps.get(&attempt.step));
        let open = old.filter(|old| old.status == StepStatus::Running && old.attempt == attempt.number);
        let Some(open) = open else { continue };
        let lost = attempt.status == AttemptStatus::Failed
            && attempt.error.as_ref().is_some_and(|error| error.kind == FailureKind::STALE_RUNNING_STEP);
        let holder = holder(&attempt.step);
        let own = holder == open.lease;
        // A worker that began an attempt without receiving the acknowledgement gives it up if nothing may begin any
        // more when it looks again: at the latest in the commit that ends the run.
        let given_up = !life_cycle::may_schedule(change.after.run.status);
        let legal = if lost { holder.is_some() && (!own || given_up) } else { own };
        findings.demand(legal, id, || {
            let what = if lost { "the loss" } else { "the outcome" };
            let status = attempt.status.as_str();
            format!("{what} of {}, {status}, came under {:?}, and {holder:?} holds it", attempt.step, open.lease)
        });
    }
    let holder = held.get(&IntentKey::compensation(id)).copied();
    for (step, old, new) in written(change) {
        let lease = old.and_then(|old| old.lease);
        let own = match old.and_then(|old| end(old, new)) {
            None => true,
            Some(End::Lost) => holder.is_some() && holder != lease,
            Some(_) => holder == lease,
        };
        findings.demand(own, id, || {
            format!("what became of the compensation of {} under {lease:?} was recorded by {holder:?}", step.step)
        });
        let began = new.status == CompensationStatus::Running && old.is_none_or(|old| old.attempt < new.attempt);
        findings.demand(!began || (new.lease.is_some() && new.lease == holder), id, || {
            format!("the compensation of {} began under {:?}, and {holder:?} holds it", step.step, new.lease)
        });
    }
}

/// Returns the holder of each intent when a commit is applied.
fn held<'a>(change: &Change<'a>) -> BTreeMap<&'a IntentKey, LeaseToken> {
    let stored = change.intents.iter().filter_map(|intent| Some((&intent.key, intent.lease?)));
    let mut held: BTreeMap<&IntentKey, LeaseToken> = stored.collect();
    // A successor that is dispatched under the lease of its dispatcher is held as well.
    for write in &change.commit.intents {
        if let IntentWrite::Add(intent) | IntentWrite::Replace(intent) = write
            && let Some(token) = intent.lease
        {
            held.entry(&intent.key).or_insert(token);
        }
    }
    held
}
