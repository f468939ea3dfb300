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
use crate::run::{Failure, FailureKind};

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
    Failure::new(FailureKind::CONTEXT_TOO_LARGE, message).at(step)
}

/// Returns the size of the context without an output and with it. Outputs that later ones replace do not count.
fn sizes(work: &UnitOfWork, step: &StepName, output: &Map<String, Value>) -> (usize, usize) {
    let (state, definition) = (work.state(), work.definition());
    let completed = state.completed(definition);
    let place = match definition.shape() {
        Shape::Transitions => completed.len(),
        Shape::Dependencies => {
            let position = definition.position(step.as_str());
            completed.partition_point(|run| definition.position(run.step.as_str()) < position)
        }
    };
    let outputs: Vec<_> = completed.iter().filter_map(|run| run.output.as_deref()).collect();
    let (before, after) = outputs.split_at_checked(place).unwrap_or((&outputs, &[]));
    let merged = |with: Option<&Map<String, Value>>| {
        let all = before.iter().copied().chain(with).chain(after.iter().copied());
        let merged: BTreeMap<&String, &Value> = all.flatten().collect();
        merged
            .into_iter()
            .fold(0_usize, |bytes, (key, value)| bytes.saturating_add(key.len()).saturating_add(size(value)))
    };
    (merged(None), merged(Some(output)))
}
