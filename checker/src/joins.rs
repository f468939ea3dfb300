//! In a dependency workflow a step is scheduled once all of its dependencies have completed, and as soon as they
//! have.

use std::time::Duration;

use squidmesh_core::definition::{Shape, StepDefinition, StepName};
use squidmesh_core::run::StepStatus;

use crate::evidence::{Evidence, RunRecord};
use crate::findings::Findings;
use crate::life_cycle;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let Some(definition) = record.own_definition().filter(|found| found.shape() == Shape::Dependencies) else {
            continue;
        };
        let state = &record.state;
        let done = |step: &StepName| state.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed);
        for declared in definition.steps() {
            let runnable = declared.after.iter().all(done);
            let scheduled = state.steps.contains_key(&declared.name);
            findings.demand(runnable || !scheduled, *id, || {
                format!("{} is scheduled, and waits for one of {:?}", declared.name, declared.after)
            });
            findings.demand(scheduled || !runnable || !life_cycle::may_schedule(state.run.status), *id, || {
                format!("{} has nothing to wait for, and is not scheduled", declared.name)
            });
            check_times(evidence, findings, record, declared);
        }
    }
}

/// A dependency that is completed now may not have been when the step began: the order of completion shows it, and so
/// do the times.
fn check_times(evidence: &Evidence, findings: &mut Findings, record: &RunRecord, declared: &StepDefinition) {
    let (id, steps) = (record.state.run.id, &record.state.steps);
    let Some(run) = steps.get(&declared.name).filter(|run| !record.is_given(&run.step)) else { return };
    let watched = evidence.times.scheduled.get(&(id, run.step.clone()));
    let scheduled = watched.map_or((run.created_at, evidence.skew), |time| (*time, Duration::ZERO));
    let began = record.attempts(&run.step).next().map(|first| evidence.began(id, &first));
    for needed in declared.after.iter().filter_map(|step| steps.get(step)) {
        findings.demand(run.sequence.is_none_or(|own| needed.sequence.is_some_and(|it| it < own)), id, || {
            format!("{} completed as number {:?}, and {} as {:?}", run.step, run.sequence, needed.step, needed.sequence)
        });
        // A step that was given as completed has no attempt in this run.
        let Some((ended, _)) = record.attempts(&needed.step).last().and_then(|last| evidence.ended(id, &last)) else {
            continue;
        };
        for (what, (time, trust)) in [("scheduled", Some(scheduled)), ("begun", began)]
            .into_iter()
            .filter_map(|(what, time)| Some((what, time?)))
        {
            findings.demand(time.after(trust) >= ended, id, || {
                format!("{} was {what} {:?} before {} ended", run.step, ended.since(time), needed.step)
            });
        }
    }
}
