//! The snapshot of a step's input consists of the payload and of the outputs that precede the step, and of nothing
//! else: in a dependency workflow, the outputs of all its dependencies, merged in the order of declaration, whichever
//! completed first.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use squidmesh_core::definition::{Definition, InputMapping, Shape, StepName};
use squidmesh_core::run::StepRun;

use crate::evidence::{Evidence, RunRecord};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let Some(definition) = record.own_definition() else { continue };
        for run in record.state.steps.values().filter(|run| !record.is_given(&run.step)) {
            let Some(declared) = definition.step(run.step.as_str()) else { continue };
            let Some(before) = before(record, definition, run) else { continue };
            let mut visible = (*record.state.run.payload).clone();
            for output in before.iter().filter_map(|step| step.output.as_deref()) {
                visible.extend(output.clone());
            }
            let Some(wanted) = mapped(visible, &declared.input) else { continue };
            let Some(input) = record.input(run) else { continue };
            findings.demand(*input == wanted, *id, || {
                let of: Vec<&StepName> = before.iter().map(|step| &step.step).collect();
                format!("the snapshot of {} is {input:?}; of the payload and {of:?} comes {wanted:?}", run.step)
            });
        }
    }
}

/// Returns the steps whose outputs a step is given, the last to be merged last; `None` where the stored data does not
/// show it.
fn before<'a>(record: &'a RunRecord, definition: &Definition, run: &StepRun) -> Option<Vec<&'a StepRun>> {
    let steps = &record.state.steps;
    match definition.shape() {
        Shape::Dependencies => {
            let mut needed = BTreeSet::new();
            let mut open = vec![&run.step];
            while let Some(step) = open.pop() {
                let after = definition.step(step.as_str()).map(|declared| &declared.after);
                open.extend(after.into_iter().flatten().filter(|step| needed.insert(*step)));
            }
            let declared = definition.steps().iter().filter(|step| needed.contains(&step.name));
            Some(declared.filter_map(|step| steps.get(&step.name)).collect())
        }
        // One step at a time: the steps that completed before this one did so before it was scheduled. For a step
        // without a sequence number, the stored data does not show which steps came before it.
        Shape::Transitions => {
            let own = run.sequence?;
            let mut before: Vec<_> = steps.values().filter(|step| step.sequence.is_some_and(|it| it < own)).collect();
            before.sort_by_key(|step| step.sequence);
            Some(before)
        }
    }
}

fn mapped(visible: Map<String, Value>, mapping: &InputMapping) -> Option<Map<String, Value>> {
    match mapping {
        InputMapping::Everything => Some(visible),
        InputMapping::Keys(keys) => Some(visible.into_iter().filter(|(key, _)| keys.contains(key)).collect()),
        InputMapping::Paths(paths) => {
            let visible = Value::Object(visible);
            let found = |path: &[String]| {
                path.iter().try_fold(&visible, |value, segment| match value {
                    Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
                    _ => value.get(segment),
                })
            };
            let some = paths.iter().filter(|(_, path)| !path.is_empty());
            Some(some.filter_map(|(key, path)| Some((key.clone(), found(path)?.clone()))).collect())
        }
        _ => None,
    }
}
