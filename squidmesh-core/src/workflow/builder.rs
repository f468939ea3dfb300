//! Collects the parts of a workflow and builds it.
//!
//! Every method takes and gives back the builder, so that it works in chains and in loops alike; nothing panics, and
//! nothing is judged before `build`.

use std::collections::HashMap;
use std::sync::Arc;

use super::step::Step;
use super::trigger::Trigger;
use super::{Code, Workflow};
use crate::definition::draft::{Draft, TargetDraft, TransitionDraft};
use crate::definition::{DefinitionErrors, RecoveryRoute, TransitionOutcome};
use crate::name::StepName;

/// A workflow that is being declared.
#[must_use = "a workflow exists only once `build` was called"]
pub struct WorkflowBuilder {
    name: String,
    triggers: Vec<Trigger>,
    steps: Vec<Step>,
    transitions: Vec<TransitionDraft>,
}

impl WorkflowBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), triggers: Vec::new(), steps: Vec::new(), transitions: Vec::new() }
    }

    /// Adds a way in.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.triggers.push(trigger);
        self
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Leads from a step, when it completes or is approved, to another or to [`COMPLETE`].
    pub fn then(self, from: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.transition(from.as_ref(), TransitionOutcome::Ok, to.into(), None)
    }

    /// Leads from a step, when it fails for good or is rejected, to another or to [`COMPLETE`].
    pub fn on_error(self, from: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.transition(from.as_ref(), TransitionOutcome::Error, to.into(), None)
    }

    /// Leads from a step, when it fails for good or is rejected, to steps that compensate or undo, and has that recorded.
    pub fn on_error_recovering(self, from: impl AsRef<str>, to: impl Into<Destination>, route: RecoveryRoute) -> Self {
        self.transition(from.as_ref(), TransitionOutcome::Error, to.into(), Some(route))
    }

    fn transition(
        mut self,
        from: &str,
        on: TransitionOutcome,
        to: Destination,
        recovery: Option<RecoveryRoute>,
    ) -> Self {
        self.transitions.push(TransitionDraft { from: from.to_owned(), on, to: to.0, recovery });
        self
    }

    /// Checks everything and makes the workflow.
    ///
    /// # Errors
    /// Every error in the declaration, not only the first.
    pub fn build(self) -> Result<Workflow, DefinitionErrors> {
        let mut errors = Vec::new();
        let triggers = self.triggers.into_iter().map(|trigger| trigger.into_draft(&mut errors)).collect();
        let mut steps = Vec::with_capacity(self.steps.len());
        let mut code = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let parts = step.into_parts(&mut errors);
            steps.push(parts.draft);
            code.push((parts.handler, parts.transactional, parts.compensation));
        }
        let draft = Draft { name: self.name, triggers, steps, transitions: self.transitions };
        let definition = draft.validate(errors)?;
        let mut kept = Code { handlers: HashMap::with_capacity(code.len()), ..Code::default() };
        for (step, (handler, transactional, compensation)) in definition.steps().iter().zip(code) {
            keep(&mut kept.handlers, &step.name, handler);
            keep(&mut kept.transactional, &step.name, transactional);
            keep(&mut kept.compensations, &step.name, compensation);
        }
        Ok(Workflow { definition: Arc::new(definition), code: Arc::new(kept) })
    }
}

fn keep<H: ?Sized>(code: &mut HashMap<StepName, Arc<H>>, step: &StepName, handler: Option<Arc<H>>) {
    if let Some(handler) = handler {
        code.insert(step.clone(), handler);
    }
}

/// Where a transition leads: a step, by its name, or [`COMPLETE`].
#[derive(Clone, Debug)]
pub struct Destination(pub(super) TargetDraft);

/// The type of [`COMPLETE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete;

/// The end of a run that went well, as the destination of a transition.
pub const COMPLETE: Complete = Complete;

impl From<Complete> for Destination {
    fn from(_: Complete) -> Self {
        Self(TargetDraft::Complete)
    }
}

macro_rules! step_by_name {
    ($($text:ty),*) => {
        $(impl From<$text> for Destination {
            fn from(step: $text) -> Self {
                Self(TargetDraft::Step(step.to_string()))
            }
        })*
    };
}

step_by_name!(&str, String, &String, StepName, &StepName);
