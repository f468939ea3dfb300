//! Collects the parts of a workflow and builds it.
//!
//! Every method takes and returns the builder, so that it works in chains and in loops. Nothing panics, and nothing is
//! checked before `build`.

use std::sync::Arc;

use super::Workflow;
use super::destination::{COMPLETE, Destination};
use super::intention::{self, Expected};
use super::step::Step;
use super::trigger::Trigger;
use crate::definition::draft::{Draft, TransitionDraft};
use crate::definition::{DefinitionError, DefinitionErrors, RecoveryRoute, TransitionOutcome};

impl Workflow {
    /// Returns a builder for a workflow. Nothing is checked before [`WorkflowBuilder::build`].
    pub fn builder(name: impl AsRef<str>) -> WorkflowBuilder {
        WorkflowBuilder::new(name.as_ref(), None)
    }
}

/// Collects the declaration of a workflow.
#[must_use = "a workflow exists only once `build` was called"]
pub struct WorkflowBuilder {
    name: String,
    triggers: Vec<Trigger>,
    steps: Vec<Step>,
    transitions: Vec<TransitionDraft>,
    parallel: bool,
    expected: Option<Expected>,
    errors: Vec<DefinitionError>,
}

impl WorkflowBuilder {
    pub(super) fn new(name: &str, expected: Option<Expected>) -> Self {
        Self {
            name: name.to_owned(),
            triggers: Vec::new(),
            steps: Vec::new(),
            transitions: Vec::new(),
            parallel: false,
            expected,
            errors: Vec::new(),
        }
    }

    /// Adds a trigger. At least one is needed.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.triggers.push(trigger);
        self
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds the ok transition of a step: where the run continues when the step completes or is approved. The
    /// target is another step or [`COMPLETE`](crate::COMPLETE).
    pub fn then(self, from: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.transition(from.as_ref(), TransitionOutcome::Ok, to.into())
    }

    /// Adds ok transitions from each step to the next, and from the last to [`COMPLETE`](crate::COMPLETE).
    ///
    /// ```
    /// # use squidmesh_core::{Step, Trigger, Workflow, log, minutes, wait};
    /// # use squidmesh_core::definition::LogLevel;
    /// let workflow = Workflow::builder("reminder")
    ///     .trigger(Trigger::manual("start"))
    ///     .step(Step::new("cool_off", wait(minutes(5))))
    ///     .step(Step::new("remind", log("still there?", LogLevel::Info)))
    ///     .chain(["cool_off", "remind"])
    ///     .build()?;
    /// # Ok::<(), squidmesh_core::DefinitionErrors>(())
    /// ```
    pub fn chain<N: AsRef<str>>(mut self, steps: impl IntoIterator<Item = N>) -> Self {
        let mut steps = steps.into_iter().peekable();
        while let Some(from) = steps.next() {
            let to: Destination = steps.peek().map_or(COMPLETE.into(), |next| next.as_ref().into());
            self = self.then(from, to);
        }
        self
    }

    /// Declares that the steps of a workflow without transitions and dependencies all start at once. Without this,
    /// several steps that nothing connects are an error.
    pub fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }

    /// Adds the error transition of a step: where the run continues when the step fails permanently or is
    /// rejected. The target is another step or [`COMPLETE`](crate::COMPLETE).
    pub fn on_error(self, from: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.transition(from.as_ref(), TransitionOutcome::Error, to.into())
    }

    /// Declares that the error transition just added with [`on_error`](Self::on_error) leads to steps that
    /// compensate or undo: the failed step's history records the route.
    pub fn recovery(mut self, route: RecoveryRoute) -> Self {
        match self.transitions.last_mut() {
            Some(last) => last.recovery = Some(route),
            None => self.errors.push(DefinitionError::RecoveryWithoutTransition),
        }
        self
    }

    fn transition(mut self, from: &str, on: TransitionOutcome, to: Destination) -> Self {
        self.transitions.push(TransitionDraft { from: from.to_owned(), on, to: to.0, recovery: None });
        self
    }

    /// Checks the declaration and builds the workflow.
    ///
    /// # Errors
    /// Returns every error in the declaration, not only the first.
    pub fn build(self) -> Result<Workflow, DefinitionErrors> {
        let mut errors = self.errors;
        let triggers = self.triggers.into_iter().map(|trigger| trigger.into_draft(&mut errors)).collect();
        let (steps, code): (Vec<_>, Vec<_>) = self.steps.into_iter().map(|step| step.into_parts(&mut errors)).unzip();
        let draft = Draft { name: self.name, triggers, steps, transitions: self.transitions };
        intention::check(&draft, &code, self.parallel, self.expected.as_ref(), &mut errors);
        let definition = draft.validate(errors)?;
        let names = definition.steps().iter().map(|step| step.name.clone());
        let code = names.zip(code).collect();
        Ok(Workflow { definition: Arc::new(definition), code: Arc::new(code) })
    }
}
