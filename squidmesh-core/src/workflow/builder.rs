//! Collects the parts of a workflow and builds it.
//!
//! Every method takes and returns the builder, so that it works in chains and in loops. Nothing panics, and nothing is
//! checked before `build`.

use std::sync::Arc;

use super::Workflow;
use super::destination::{COMPLETE, Destination};
use super::intention::{self, Expected};
use super::signal::Signal;
use super::step::Step;
use super::trigger::Trigger;
use crate::definition::draft::{Draft, TransitionDraft};
use crate::definition::{Condition, DefinitionError, DefinitionErrors, Guard, RecoveryRoute, TransitionOutcome};

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
    signals: Vec<Signal>,
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
            signals: Vec::new(),
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

    /// Declares a signal that runs of the workflow receive. Steps wait for it with [`wait_for`](crate::wait_for).
    pub fn signal(mut self, signal: Signal) -> Self {
        self.signals.push(signal);
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

    /// Adds an ok transition that is taken if a condition holds once the step has completed, with its output visible.
    /// Conditions are tried in the order of declaration. The first that holds wins; if none does, the transition of
    /// [`then`](Self::then) is taken, which is required beside them. The choice is committed with the outcome, and never
    /// made again.
    ///
    /// ```
    /// # use squidmesh_core::{COMPLETE, Field, Step, StepContext, StepResult, Trigger, Workflow, pause, when};
    /// # async fn assess(_: serde_json::Value, _: StepContext) -> StepResult<serde_json::Value> { Ok(0.into()) }
    /// # async fn pay(_: serde_json::Value, _: StepContext) -> StepResult<()> { Ok(()) }
    /// let workflow = Workflow::builder("payout")
    ///     .trigger(Trigger::manual("start").field(Field::integer("amount")))
    ///     .step(Step::new("assess", assess).output("risk"))
    ///     .step(Step::new("review", pause()))
    ///     .step(Step::new("pay", pay))
    ///     .then_if("assess", when("risk").greater_than(70).or(when("amount").at_least(10_000)), "review")
    ///     .then("assess", "pay")
    ///     .then("review", "pay")
    ///     .then("pay", COMPLETE)
    ///     .build()?;
    /// # Ok::<(), squidmesh_core::DefinitionErrors>(())
    /// ```
    pub fn then_if(self, from: impl AsRef<str>, condition: Condition, to: impl Into<Destination>) -> Self {
        self.guarded(from.as_ref(), TransitionOutcome::Ok, Guard::If(condition), to.into())
    }

    /// Adds an ok transition that the handler of the step chooses by its name, with
    /// [`Routed`](crate::workflow::Routed). A route comes before conditions. A name without a transition fails the step
    /// with the kind `unknown_route`.
    pub fn then_named(self, from: impl AsRef<str>, route: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.guarded(from.as_ref(), TransitionOutcome::Ok, Guard::Route(route.as_ref().to_owned()), to.into())
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

    /// Adds an error transition for failures of one kind, such as a handler's own `declined`. It comes before
    /// [`on_error`](Self::on_error), which takes the others; without one, they fail the run.
    pub fn on_error_kind(self, from: impl AsRef<str>, kind: impl AsRef<str>, to: impl Into<Destination>) -> Self {
        self.guarded(from.as_ref(), TransitionOutcome::Error, Guard::Kind(kind.as_ref().to_owned()), to.into())
    }

    /// Declares that the error transition just added with [`on_error`](Self::on_error) or
    /// [`on_error_kind`](Self::on_error_kind) leads to steps that compensate or undo: the failed step's history records
    /// the route.
    pub fn recovery(mut self, route: RecoveryRoute) -> Self {
        match self.transitions.last_mut() {
            Some(last) => last.recovery = Some(route),
            None => self.errors.push(DefinitionError::RecoveryWithoutTransition),
        }
        self
    }

    fn transition(mut self, from: &str, on: TransitionOutcome, to: Destination) -> Self {
        self.transitions.push(TransitionDraft { from: from.to_owned(), on, guard: None, to: to.0, recovery: None });
        self
    }

    fn guarded(mut self, from: &str, on: TransitionOutcome, guard: Guard, to: Destination) -> Self {
        let (from, guard) = (from.to_owned(), Some(guard));
        self.transitions.push(TransitionDraft { from, on, guard, to: to.0, recovery: None });
        self
    }

    /// Checks the declaration and builds the workflow.
    ///
    /// # Errors
    /// Returns every error in the declaration, not only the first.
    pub fn build(self) -> Result<Workflow, DefinitionErrors> {
        let mut errors = self.errors;
        let triggers = self.triggers.into_iter().map(|trigger| trigger.into_draft(&mut errors)).collect();
        let signals = self.signals.into_iter().map(|signal| signal.into_draft(&mut errors)).collect();
        let (steps, code): (Vec<_>, Vec<_>) = self.steps.into_iter().map(|step| step.into_parts(&mut errors)).unzip();
        let draft = Draft { name: self.name, triggers, signals, steps, transitions: self.transitions };
        intention::check(&draft, &code, self.parallel, self.expected.as_ref(), &mut errors);
        let definition = draft.validate(errors)?;
        let names = definition.steps().iter().map(|step| step.name.clone());
        let code = names.zip(code).collect();
        Ok(Workflow { definition: Arc::new(definition), code: Arc::new(code) })
    }
}
