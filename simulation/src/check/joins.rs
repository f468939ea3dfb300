//! In a dependency workflow a step is scheduled once all that it depends on has completed, and as soon as that is so.

use squidmesh_core::{Shape, StepName, StepStatus};

use super::{Evidence, Findings};

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
            findings.demand(scheduled || !runnable || !state.run.status.may_schedule(), *id, || {
                format!("{} has nothing to wait for, and is not scheduled", declared.name)
            });
        }
    }
}
