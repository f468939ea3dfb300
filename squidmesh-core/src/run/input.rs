//! The input of a step, derived from the run that it belongs to.
//!
//! Knows how an input follows from the payload, the outputs and the mapping. Never knows what is done with it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{InputSnapshot, RunSnapshot, StepRun};
use crate::definition::{Definition, InputMapping, Shape, inside};

impl RunSnapshot {
    /// Returns the input of a step run. `definition` is the version that the run is pinned to.
    pub fn input_of(&self, step: &StepRun, definition: &Definition) -> Arc<Map<String, Value>> {
        match &step.input {
            InputSnapshot::Copy(copy) => Arc::clone(copy),
            InputSnapshot::AsOf(sequence) => {
                let visible = self.visible_as_of(*sequence, step.step.as_str(), definition);
                mapped(&Arc::new(visible), step, definition)
            }
        }
    }

    /// Returns the input of a step run, as [`input_of`](RunSnapshot::input_of) does, given what is
    /// [visible](RunSnapshot::visible_to) to the step now: usually that is what the input follows from.
    pub(crate) fn input_among(
        &self,
        visible: &Arc<Map<String, Value>>,
        step: &StepRun,
        definition: &Definition,
    ) -> Arc<Map<String, Value>> {
        match step.input {
            InputSnapshot::AsOf(sequence) if self.last_output(definition) <= sequence => {
                mapped(visible, step, definition)
            }
            _ => self.input_of(step, definition),
        }
    }

    /// Returns the reference to what a step that is scheduled now receives.
    pub(crate) fn input_now(&self, definition: &Definition) -> InputSnapshot {
        InputSnapshot::AsOf(self.last_output(definition))
    }

    /// Returns the sequence number of the last completion that left an output for the steps that follow.
    fn last_output(&self, definition: &Definition) -> u64 {
        match definition.shape() {
            Shape::Transitions => {
                let completed = self.steps.values().filter(|step| step.output.is_some());
                completed.filter_map(|step| step.sequence).max().unwrap_or_default()
            }
            // A wide run is not searched for every sibling.
            Shape::Dependencies => 0,
        }
    }
}

/// Returns what the mapping that a step declares selects.
fn mapped(visible: &Arc<Map<String, Value>>, step: &StepRun, definition: &Definition) -> Arc<Map<String, Value>> {
    let mapping = definition.step(step.step.as_str()).map_or(&InputMapping::Everything, |declared| &declared.input);
    match mapping {
        InputMapping::Everything => Arc::clone(visible),
        InputMapping::Keys(keys) => {
            let found = keys.iter().filter_map(|key| Some((key.clone(), visible.get(key)?.clone())));
            Arc::new(found.collect())
        }
        InputMapping::Paths(paths) => {
            let found = paths.iter().filter_map(|(key, path)| {
                let (first, rest) = path.split_first()?;
                let found = rest.iter().try_fold(visible.get(first)?, |value, segment| inside(value, segment))?;
                Some((key.clone(), found.clone()))
            });
            Arc::new(found.collect())
        }
    }
}
