//! The limit on the size of a run's context: the outputs of its steps together.
//!
//! Each output is within the limits by itself. Every later step receives all of them, so together they have a
//! limit too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::UnitOfWork;
use crate::definition::Shape;
use crate::json::size;
use crate::name::StepName;
use crate::run::{Failure, StepRun};

/// Returns how large the context would be with an output, in bytes, if that exceeds the limit.
pub(super) fn overflow(
    work: &mut UnitOfWork,
    step: &StepName,
    output: &Map<String, Value>,
    bytes: usize,
) -> Option<usize> {
    let limit = work.limits().context;
    // Usually there is plenty of room, which is known without visiting any other output.
    if work.output_bytes().saturating_add(bytes) <= limit {
        return None;
    }
    let (without, with) = sizes(work, step, output);
    (with > limit && with > without).then_some(with)
}

/// Returns the failure of a step whose output exceeds the limit of the context.
pub(super) fn too_large(work: &UnitOfWork, step: &StepName, with: usize) -> Failure {
    let limit = work.limits().context;
    let message = format!(
        "the output of step {step} takes the context of the run to {with} bytes, beyond its limit of {limit} bytes: store large \
         data elsewhere and pass a reference to it, or raise the limit (`Config::max_context_bytes`)"
    );
    Failure::new(Failure::CONTEXT_TOO_LARGE, message).at(step)
}

/// Returns the size of the context without an output and with it. Outputs that later ones replace do not count.
fn sizes(work: &UnitOfWork, step: &StepName, output: &Map<String, Value>) -> (usize, usize) {
    let (state, definition) = (work.state(), work.definition());
    let mut completed: Vec<&StepRun> = state.steps.values().filter(|run| run.output.is_some()).collect();
    match definition.shape() {
        Shape::Transitions => completed.sort_by_key(|run| run.sequence),
        Shape::Dependencies => completed.sort_by_key(|run| definition.position(run.step.as_str())),
    }
    let place = match definition.shape() {
        Shape::Transitions => completed.len(),
        Shape::Dependencies => {
            let position = definition.position(step.as_str());
            completed.partition_point(|run| definition.position(run.step.as_str()) < position)
        }
    };
    let (before, after) = completed.split_at_checked(place).unwrap_or((&completed, &[]));
    let merged = |with: Option<&Map<String, Value>>| {
        let mut merged: BTreeMap<&str, &Value> = BTreeMap::new();
        let outputs = |runs: &[&StepRun]| runs.iter().filter_map(|run| run.output.clone()).collect::<Vec<_>>();
        let (before, after) = (outputs(before), outputs(after));
        let mut bytes = 0_usize;
        let all = before.iter().map(|output| &**output).chain(with).chain(after.iter().map(|output| &**output));
        for (key, value) in all.flatten() {
            merged.insert(key, value);
        }
        for (key, value) in merged {
            bytes = bytes.saturating_add(key.len()).saturating_add(size(value));
        }
        bytes
    };
    (merged(None), merged(Some(output)))
}
