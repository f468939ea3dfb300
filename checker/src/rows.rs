//! The rows that a transactional step writes exist once if the step completed, and not at all if it did not.

use squidmesh_core::definition::StepName;

use crate::evidence::{EffectKind, Evidence};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    if evidence.transactional.is_empty() {
        return;
    }
    for (id, record) in &evidence.runs {
        let workflow = &record.state.run.workflow;
        let writes = |step: &StepName| evidence.transactional.contains(&(workflow.clone(), step.clone()));
        for run in record.state.steps.values().filter(|run| writes(&run.step)) {
            let rows = evidence
                .effects
                .iter()
                .filter(|effect| effect.kind == EffectKind::Row && effect.run_id == *id && effect.step == run.step);
            let rows: Vec<u32> = rows.map(|row| row.attempt).collect();
            let wanted: Vec<u32> = match run.output.is_some() && !record.is_given(&run.step) {
                true => vec![run.attempt],
                false => vec![],
            };
            findings.demand(rows == wanted, *id, || {
                format!(
                    "{} is {}: rows of attempts {wanted:?} are to be there, and are of {rows:?}",
                    run.step,
                    run.status.as_str()
                )
            });
        }
    }
}
