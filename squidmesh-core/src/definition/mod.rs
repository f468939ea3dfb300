//! Workflow definitions: plain data that was checked once and cannot be invalid afterwards.
//!
//! Knows steps, triggers, edges and the fingerprint that identifies them; must never know handlers, stores or
//! runs. A definition that is read from storage passes the same validation as one that was just built.

mod condition;
mod contract_problem;
mod cycle;
mod deadline;
mod duration;
mod error;
mod errors;
mod fingerprint;
mod graph;
mod guard_problem;
mod retry;
mod signal;
mod similar;
mod step;
mod transition;
mod trigger;
mod validate;

pub(crate) mod draft;

pub use self::condition::{Comparison, Condition, ConditionPath, Subject, not, when};
pub use self::contract_problem::{ContractProblem, PayloadOwner};
pub use self::deadline::Deadline;
pub use self::duration::{hours, minutes, ms, secs};
pub use self::error::DefinitionError;
pub use self::errors::DefinitionErrors;
pub use self::fingerprint::{Fingerprint, InvalidFingerprint};
pub use self::guard_problem::GuardProblem;
pub use self::retry::Retry;
pub use self::signal::SignalDefinition;
pub use self::step::{InputMapping, LogLevel, Priority, RecoveryPolicy, StepDefinition, StepKind};
pub use self::transition::{Guard, RecoveryRoute, Target, Transition, TransitionOutcome};
pub use self::trigger::{TriggerDefinition, TriggerKind};
pub use crate::schedule::MissedPolicy;

pub use crate::contract::{Contract, Field, FieldKind, PayloadError, PayloadErrors, PayloadProblem, PayloadSchema};
pub use crate::json::{JsonLimits, JsonViolation};
pub use crate::name::{InvalidName, NameProblem, QueueName, SignalName, StepName, TriggerName, WorkflowName};

pub(crate) use self::condition::inside;
pub(crate) use self::duration::{optional_millis, whole_ms};
pub(crate) use self::similar::{MAX_SUGGESTIONS, similar};

use serde::{Deserialize, Serialize};

use self::draft::Draft;
use self::graph::Graph;

/// A validated workflow definition. It is made by [`Workflow::builder`](crate::Workflow::builder) or by
/// deserialising a stored one. Either way it obeys every rule, so its users need not check again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Draft")]
pub struct Definition {
    name: WorkflowName,
    triggers: Vec<TriggerDefinition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<SignalDefinition>,
    steps: Vec<StepDefinition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transitions: Vec<Transition>,
    #[serde(skip)]
    shape: Shape,
    #[serde(skip)]
    graph: Graph,
    #[serde(skip)]
    fingerprint: Fingerprint,
}

/// How the steps of a workflow follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One step runs at a time; its outcome chooses the next.
    Transitions,
    /// A step starts as soon as all its dependencies have completed. A single step is the smallest case.
    Dependencies,
}

impl Definition {
    /// Returns the name of the workflow.
    pub fn name(&self) -> &WorkflowName {
        &self.name
    }

    /// Returns the fingerprint of this version of the workflow. The same graph, options and payload contracts
    /// have the same fingerprint; any change of them changes it.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns how the steps follow one another.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the triggers, in the order of declaration. There is at least one.
    pub fn triggers(&self) -> &[TriggerDefinition] {
        &self.triggers
    }

    /// Returns the trigger with this name.
    pub fn trigger(&self, name: &str) -> Option<&TriggerDefinition> {
        self.triggers.iter().find(|trigger| trigger.name().as_str() == name)
    }

    /// Returns the signals, in the order of declaration.
    pub fn signals(&self) -> &[SignalDefinition] {
        &self.signals
    }

    /// Returns the signal with this name.
    pub fn signal(&self, name: &str) -> Option<&SignalDefinition> {
        self.signals.iter().find(|signal| signal.name().as_str() == name)
    }

    /// Returns the steps, in the order of declaration. There is at least one.
    pub fn steps(&self) -> &[StepDefinition] {
        &self.steps
    }

    /// Returns the step with this name, in constant time.
    pub fn step(&self, name: &str) -> Option<&StepDefinition> {
        self.steps.get(self.graph.position(name)?)
    }

    /// Returns the position of a step in the order of declaration, in constant time.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.graph.position(name)
    }

    /// Returns the entry steps of a run, in the order of declaration: exactly one for [`Shape::Transitions`],
    /// every step without dependencies for [`Shape::Dependencies`].
    pub fn entry_steps(&self) -> Vec<&StepDefinition> {
        self.at(&self.graph.entries)
    }

    /// Returns the transitions, in the order of declaration. There are none for [`Shape::Dependencies`].
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Returns the transition of a step on an outcome that has no guard, in constant time.
    pub fn transition(&self, from: &str, on: TransitionOutcome) -> Option<&Transition> {
        self.transitions.get(self.graph.transition(self.graph.position(from)?, on)?)
    }

    /// Returns the transitions of a step that have a guard, in the order of declaration, in constant time.
    pub fn guarded_transitions(&self, from: &str) -> impl Iterator<Item = &Transition> {
        let places = self.graph.position(from).map_or(&[][..], |position| self.graph.guarded(position));
        places.iter().filter_map(|place| self.transitions.get(*place))
    }

    /// Returns the transition that a failure of this kind takes, if any: the first that is for that kind, or the error
    /// transition without a guard.
    pub fn transition_on_failure(&self, from: &str, kind: &str) -> Option<&Transition> {
        let is_for_it = |guard: &Guard| matches!(guard, Guard::Kind(of) if of == kind);
        let mut guarded = self.guarded_transitions(from);
        let found = guarded.find(|transition| transition.guard.as_ref().is_some_and(is_for_it));
        found.or_else(|| self.transition(from, TransitionOutcome::Error))
    }

    /// Returns the steps that name this one in their `after`, in the order of declaration.
    pub fn dependents(&self, step: &str) -> Vec<&StepDefinition> {
        self.position(step).map(|position| self.at(self.graph.dependents(position))).unwrap_or_default()
    }

    /// Returns every direct and indirect dependency of a step, in the order of declaration.
    pub fn ancestors(&self, step: &str) -> Vec<&StepDefinition> {
        self.position(step).map(|position| self.at(&self.graph.ancestors(position))).unwrap_or_default()
    }

    fn at(&self, positions: &[usize]) -> Vec<&StepDefinition> {
        positions.iter().filter_map(|position| self.steps.get(*position)).collect()
    }
}

/// Two definitions with the same name and fingerprint are equal.
impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.fingerprint == other.fingerprint
    }
}

impl Eq for Definition {}

impl TryFrom<Draft> for Definition {
    type Error = DefinitionErrors;

    fn try_from(draft: Draft) -> Result<Self, Self::Error> {
        draft.validate(Vec::new())
    }
}
