//! The completed steps of a failed run are compensated, the last to complete first; those of other runs never.

use std::collections::BTreeMap;

use squidmesh_core::definition::StepName;
use squidmesh_core::run::{CompensationStatus, StepStatus};
use squidmesh_core::{RunId, RunStatus};

use crate::evidence::{EffectKind, Evidence, RunRecord};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            let Some(callback) = &run.compensation else { continue };
            findings.demand(record.state.run.status == RunStatus::Failed, *id, || {
                format!("it is {}, and {} is compensated", record.state.run.status, run.step)
            });
            findings.demand(run.status == StepStatus::Completed, *id, || {
                format!("{} is {}, and compensated", run.step, run.status.as_str())
            });
            let ended = matches!(callback.status, CompensationStatus::Completed | CompensationStatus::Failed);
            findings.demand(ended == callback.finished_at.is_some(), *id, || {
                format!(
                    "the compensation of {} is {:?} and finished at {:?}",
                    run.step, callback.status, callback.finished_at
                )
            });
        }
    }
    let mut begun: BTreeMap<RunId, Vec<&StepName>> = BTreeMap::new();
    for effect in evidence.effects.iter().filter(|effect| effect.kind == EffectKind::Compensation) {
        let id = effect.run_id;
        begun.entry(id).or_default().push(&effect.step);
        let Some(record) = evidence.runs.get(&id) else { continue };
        let status = record.state.run.status;
        findings.demand(status == RunStatus::Failed, id, || {
            format!("{} was compensated, and the run is {status}", effect.step)
        });
        // A delayed worker may begin late, which cannot be prevented; but no attempt beyond the recorded ones is
        // executed.
        let callback = record.state.steps.get(&effect.step).and_then(|run| run.compensation.as_ref());
        findings.demand(callback.is_some_and(|callback| effect.attempt <= callback.attempt), id, || {
            format!("attempt {} to compensate {} was carried out, and not recorded", effect.attempt, effect.step)
        });
    }
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            let Some(callback) = &run.compensation else { continue };
            // Without a ledger, no effects are known.
            let output = callback.output.as_ref().filter(|_| !evidence.effects.is_empty());
            let output = output.and_then(|output| output.as_object());
            if let Some((number, effect)) = output.and_then(|output| evidence.effect_of(output)) {
                let own = effect.is_some_and(|effect| {
                    (effect.run_id, &effect.step, effect.attempt, effect.kind)
                        == (*id, &run.step, callback.attempt, EffectKind::Compensation)
                });
                findings.demand(own, *id, || {
                    format!("the compensation of {} has the result {number}: {effect:?}", run.step)
                });
            }
        }
        let seen = begun.remove(id).unwrap_or_default();
        let order = evidence.times.compensated.get(id).map_or(seen, |watched| watched.iter().collect());
        check_order(*id, record, &order, findings);
    }
}

/// The last step to complete is compensated first, and no step is returned to.
fn check_order(id: RunId, record: &RunRecord, order: &[&StepName], findings: &mut Findings) {
    let sequence = |step: &StepName| record.state.steps.get(step).and_then(|run| run.sequence);
    for pair in order.windows(2) {
        let [before, after] = pair else { continue };
        findings.demand(before == after || sequence(before) > sequence(after), id, || {
            format!("{after} is compensated after {before}, which completed before it")
        });
    }
}

pub(super) fn check_rest(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        if !record.history.intents.is_empty() {
            continue; // it waits for a version
        }
        for run in record.state.steps.values() {
            let owed = record.state.run.status == RunStatus::Failed
                && run.status == StepStatus::Completed
                && run.recovery.compensated_by_handler;
            let ended = run.compensation.as_ref().is_some_and(|callback| callback.finished_at.is_some());
            findings
                .demand(owed == ended, *id, || format!("{} is to be compensated: {owed}; and was: {ended}", run.step));
        }
    }
}
