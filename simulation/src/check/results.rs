//! A completed step has exactly one result: that of its last attempt, and of nothing but that.

use std::collections::BTreeMap;

use squidmesh_core::{AttemptStatus, StepKind, StepStatus};

use super::{EffectKind, Evidence, Findings};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let mut sequences = BTreeMap::new();
        for run in record.state.steps.values() {
            if record.is_given(&run.step) {
                let from = record.state.run.resumed_from.and_then(|from| evidence.runs.get(&from));
                let first = from.and_then(|from| from.state.steps.get(&run.step)).map(|first| &first.output);
                findings.demand(first.is_none_or(|first| *first == run.output), *id, || {
                    format!("{} was given another output than it had", run.step)
                });
                continue;
            }
            let completed: Vec<_> =
                record.attempts(&run.step).filter(|attempt| attempt.status == AttemptStatus::Completed).collect();
            let wanted = usize::from(run.status == StepStatus::Completed);
            findings.demand(completed.len() == wanted, *id, || {
                format!("{} is {}, and {} of its attempts completed", run.step, run.status.as_str(), completed.len())
            });
            findings.demand(run.output.is_some() == (wanted == 1), *id, || {
                format!("{} is {}, and has an output: {}", run.step, run.status.as_str(), run.output.is_some())
            });
            findings.demand(run.sequence.is_some() == (wanted == 1), *id, || {
                format!("{} is {}, and has the sequence {:?}", run.step, run.status.as_str(), run.sequence)
            });
            if let Some(other) = run.sequence.and_then(|sequence| sequences.insert(sequence, &run.step)) {
                findings.add(*id, format!("{} and {other} completed at once", run.step));
            }
            let (Some(output), Some(last)) = (&run.output, completed.last()) else { continue };
            findings.demand(last.number == run.attempt, *id, || {
                format!("{} has the result of attempt {} of {}", run.step, last.number, run.attempt)
            });
            let handled = record.definition.as_ref().and_then(|found| found.step(run.step.as_str()));
            if evidence.effects.is_empty() || handled.is_none_or(|found| found.kind != StepKind::Handler) {
                continue;
            }
            match evidence.effect_of(output) {
                Some((number, Some(effect))) => {
                    let own = effect.run_id == *id
                        && effect.step == run.step
                        && effect.kind == EffectKind::Step
                        && effect.attempt == last.number;
                    findings.demand(own, *id, || {
                        format!("{} attempt {} has the result {number}, which is of {effect:?}", run.step, last.number)
                    });
                }
                found => findings.add(*id, format!("{} has a result of no handler: {found:?}", run.step)),
            }
        }
    }
}
