//! Checks a draft and builds the definition.
//!
//! Finds every error, not only the first, in time linear in steps and edges. The modules below have the rules
//! about triggers, signals, steps and edges.

mod contracts;
mod edges;
mod guards;
mod names;
mod signals;
mod steps;
mod triggers;

use self::edges::Edges;
use super::deadline::Deadline;
use super::draft::{Draft, TargetDraft, TransitionDraft};
use super::error::DefinitionError;
use super::errors::DefinitionErrors;
use super::fingerprint::Fingerprint;
use super::graph::Graph;
use super::signal::SignalDefinition;
use super::step::StepDefinition;
use super::transition::{Target, Transition};
use super::trigger::TriggerDefinition;
use super::{Definition, Shape};
use crate::json::{JsonLimits, JsonViolation};
use crate::name::{InvalidName, QueueName, SignalName, StepName, TriggerName, WorkflowName};

impl Draft {
    /// Returns the definition, or all errors: those that the builder found already, then those found here.
    pub(crate) fn validate(self, mut errors: Vec<DefinitionError>) -> Result<Definition, DefinitionErrors> {
        let name = self.name.clone();
        let shape = self.shape();
        triggers::check(&self.triggers, &mut errors);
        signals::check(&self, &mut errors);
        steps::check(&self.steps, &mut errors);
        let edges = edges::check(&self, shape, &mut errors);
        let definition = self.named(shape, edges, &mut errors).map(Definition::sealed);
        match definition {
            Some(Ok(definition)) if errors.is_empty() => return Ok(definition),
            Some(Err(error)) => errors.push(error),
            _ => {}
        }
        Err(DefinitionErrors::new(&name, errors))
    }

    /// Returns the shape of the workflow. Any `after` makes a dependency workflow; without one, any transition
    /// makes a transition workflow. Steps with neither all start at once, like dependency steps without
    /// dependencies.
    fn shape(&self) -> Shape {
        if self.transitions.is_empty() || self.steps.iter().any(|step| step.after.is_some()) {
            Shape::Dependencies
        } else {
            Shape::Transitions
        }
    }

    /// Converts texts into names, and reports those that are not valid names. The result is complete only if
    /// there is no error.
    fn named(self, shape: Shape, edges: Edges, errors: &mut Vec<DefinitionError>) -> Option<Definition> {
        let name = kept(WorkflowName::new(&self.name), errors);
        let mut triggers = Vec::with_capacity(self.triggers.len());
        for trigger in self.triggers {
            if let Some(name) = kept(TriggerName::new(&trigger.name), errors) {
                triggers.push(TriggerDefinition { name, kind: trigger.kind, contract: trigger.contract });
            }
        }
        let mut signals = Vec::with_capacity(self.signals.len());
        for signal in self.signals {
            if let Some(name) = kept(SignalName::new(&signal.name), errors) {
                signals.push(SignalDefinition { name, contract: signal.contract });
            }
        }
        let names: Vec<_> = self.steps.iter().map(|step| kept(StepName::new(&step.name), errors)).collect();
        let named = |place: usize| names.get(place).cloned().flatten();
        let mut steps = Vec::with_capacity(self.steps.len());
        for (place, step) in self.steps.into_iter().enumerate() {
            let queue = match &step.queue {
                Some(queue) => kept(QueueName::new(queue), errors),
                None => Some(QueueName::default()),
            };
            let after = edges.dependencies.get(place).into_iter().flatten().filter_map(|place| named(*place)).collect();
            if let (Some(name), Some(queue)) = (named(place), queue) {
                let deadline = step.deadline.as_ref().map(|deadline| Deadline {
                    after: deadline.after,
                    to: match deadline.to {
                        Some(TargetDraft::Complete) => Some(Target::Complete),
                        Some(TargetDraft::Fail) => Some(Target::Fail),
                        Some(TargetDraft::Step(_)) => {
                            edges.deadlines.get(place).copied().flatten().and_then(named).map(Target::Step)
                        }
                        None => None,
                    },
                });
                steps.push(StepDefinition {
                    name,
                    kind: step.kind,
                    input: step.input,
                    output: step.output,
                    retry: step.retry,
                    timeout: step.timeout,
                    deadline,
                    after,
                    recovery: step.recovery,
                    compensation_retry: step.compensation_retry,
                    transactional: step.transactional,
                    queue,
                    priority: step.priority,
                });
            }
        }
        let mut transitions = Vec::with_capacity(self.transitions.len());
        for (transition, ends) in self.transitions.into_iter().zip(edges.ends) {
            let Some((from, to)) = ends else { continue };
            let to = match (to, &transition.to) {
                (Some(to), _) => named(to).map(Target::Step),
                (None, TargetDraft::Fail) => Some(Target::Fail),
                (None, _) => Some(Target::Complete),
            };
            if let (Some(from), Some(to)) = (named(from), to) {
                let TransitionDraft { on, guard, recovery, .. } = transition;
                transitions.push(Transition { from, on, guard, to, recovery });
            }
        }
        let graph = Graph {
            positions: names.into_iter().enumerate().filter_map(|(place, name)| Some((name?, place))).collect(),
            entries: edges.entries,
            transitions: edges.transitions,
            guarded: edges.guarded,
            dependencies: edges.dependencies,
            dependents: edges.dependents,
        };
        let fingerprint = Fingerprint::UNKNOWN;
        Some(Definition { name: name?, shape, triggers, signals, steps, transitions, graph, fingerprint })
    }
}

fn kept<T>(name: Result<T, InvalidName>, errors: &mut Vec<DefinitionError>) -> Option<T> {
    match name {
        Ok(name) => Some(name),
        Err(invalid) => {
            errors.push(DefinitionError::InvalidName(invalid));
            None
        }
    }
}

impl Definition {
    /// Checks that every database can store the definition, and computes its fingerprint.
    fn sealed(mut self) -> Result<Self, DefinitionError> {
        let refused = |_| DefinitionError::NotStorable(JsonViolation::Refused { path: "the definition".to_owned() });
        let data = serde_json::to_value(&self).map_err(refused)?;
        let limits = JsonLimits { max_bytes: usize::MAX, max_depth: JsonLimits::DEPTH_CEILING };
        limits.check(&data).map_err(DefinitionError::NotStorable)?;
        self.fingerprint = Fingerprint::of(&data);
        Ok(self)
    }
}
