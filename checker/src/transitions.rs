//! A run moves as its life cycle allows, and what has ended no longer changes.

use squidmesh_core::RunStatus;
use squidmesh_core::definition::{Shape, StepName};
use squidmesh_core::port::StepWrite;
use squidmesh_core::run::{AuditKind, StepStatus};

use crate::change::{Change, begun};
use crate::findings::Findings;
use crate::life_cycle;

/// Returns whether one status can become another, possibly through others within the same commit.
fn reachable(from: RunStatus, to: RunStatus) -> bool {
    let mut seen = vec![from];
    let mut place = 0;
    while let Some(status) = seen.get(place).copied() {
        if status == to {
            return true;
        }
        place += 1;
        for next in life_cycle::transitions(status) {
            if !seen.contains(next) {
                seen.push(*next);
            }
        }
    }
    false
}

pub(super) fn check_status(change: &Change<'_>, findings: &mut Findings) {
    let run = &change.after.run;
    let before = change.before.map_or(RunStatus::Pending, |before| before.run.status);
    findings.demand(reachable(before, run.status), run.id, || format!("a {before} run became {}", run.status));
    let Some(before) = change.before else { return };
    findings.demand(run.revision == before.run.revision + 1, run.id, || {
        format!("revision {} became {}", before.run.revision, run.revision)
    });
    let adopted = change.commit.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
    findings.demand(adopted || run.fingerprint == before.run.fingerprint, run.id, || {
        "it was pinned to another version, and no host adopted it".into()
    });
}

/// Completed, failed and cancelled steps and ended compensations no longer change.
pub(super) fn check_final(change: &Change<'_>, findings: &mut Findings) {
    let (Some(before), run) = (change.before, &change.after.run) else { return };
    for old in before.steps.values() {
        let Some(new) = change.after.steps.get(&old.step) else {
            findings.add(run.id, format!("the step run of {} is gone", old.step));
            continue;
        };
        if old.status == StepStatus::Completed {
            findings.demand(
                (new.status, &new.output, new.sequence) == (old.status, &old.output, old.sequence),
                run.id,
                || format!("{} was completed, and changed", old.step),
            );
        }
        if matches!(old.status, StepStatus::Failed | StepStatus::Cancelled) {
            findings.demand(new.status == old.status, run.id, || {
                format!("{} was {}, and became {}", old.step, old.status.as_str(), new.status.as_str())
            });
        }
        let ended = old.compensation.as_ref().filter(|callback| callback.finished_at.is_some());
        findings.demand(ended.is_none() || ended == new.compensation.as_ref(), run.id, || {
            format!("the compensation of {} had ended, and changed", old.step)
        });
    }
}

/// No attempt begins and no step is scheduled in a run that is being cancelled or over, nor before the step's
/// dependencies are completed.
pub(super) fn check_beginnings(change: &Change<'_>, findings: &mut Findings) {
    let run = &change.after.run;
    let before = change.before.map_or(RunStatus::Pending, |before| before.run.status);
    let may = life_cycle::may_schedule(before) || before == RunStatus::Paused;
    for step in begun(change.commit, change.before) {
        findings.demand(may, run.id, || format!("attempt {} of {} began in a {before} run", step.attempt, step.step));
    }
    for write in &change.commit.steps {
        let StepWrite::Create(step) = write else { continue };
        findings.demand(may, run.id, || format!("{} was scheduled in a {before} run", step.step));
        let declared = change.definition.and_then(|definition| definition.step(step.step.as_str()));
        let given = change.before.is_none() || change.commit.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
        let open = declared
            .into_iter()
            .flat_map(|declared| &declared.after)
            .find(|needed| change.after.steps.get(*needed).is_none_or(|run| run.status != StepStatus::Completed));
        findings.demand(given || open.is_none(), run.id, || {
            format!("{} was scheduled, and {open:?} is not done", step.step)
        });
    }
    if let Some(definition) = change.definition.filter(|found| found.shape() == Shape::Transitions) {
        let open =
            change.after.steps.values().filter(|run| matches!(run.status, StepStatus::Pending | StepStatus::Running));
        let open: Vec<&StepName> = open.map(|run| &run.step).collect();
        findings.demand(open.len() <= 1, run.id, || format!("{open:?} of {} run at once", definition.name()));
    }
}

/// The sequence of completion is that of the commits.
pub(super) fn check_order(change: &Change<'_>, findings: &mut Findings) {
    let Some(before) = change.before else { return };
    let last = before.steps.values().filter_map(|run| run.sequence).max();
    for run in change.after.steps.values() {
        let new = before.steps.get(&run.step).is_none_or(|old| old.sequence.is_none());
        if let (true, Some(sequence)) = (new, run.sequence) {
            findings.demand(last.is_none_or(|last| sequence > last), change.after.run.id, || {
                format!("{} completed as number {sequence}, after number {last:?}", run.step)
            });
        }
    }
}
