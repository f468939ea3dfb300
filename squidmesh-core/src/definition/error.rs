//! The errors of definitions.
//!
//! One variant for each rule, with the names involved; must never decide whether a rule is broken.

use std::time::Duration;

use super::contract_problem::{ContractProblem, PayloadOwner};
use super::guard_problem::GuardProblem;
use super::similar::meant;
use super::transition::TransitionOutcome;
use crate::contract::{FieldKind, PayloadErrors};
use crate::json::JsonViolation;
use crate::name::InvalidName;

/// An error of a definition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A name breaks the rules for names.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),

    /// The workflow has no trigger.
    #[error("there is no trigger: add one, such as `.trigger(Trigger::manual(\"start\"))`")]
    NoTrigger,
    /// Two triggers share a name.
    #[error("the trigger {trigger:?} is declared twice: give each its own name")]
    DuplicateTrigger {
        /// The name of both triggers.
        trigger: String,
    },
    /// The payload of a trigger or signal is declared wrongly.
    #[error("{owner} {problem}")]
    Payload {
        /// The trigger or signal that it is declared for.
        owner: PayloadOwner,
        /// What is wrong with it.
        problem: ContractProblem,
    },
    /// A manual trigger does not take the payload of the [`WorkflowRef`](crate::workflow::WorkflowRef) that its
    /// workflow was built from.
    #[error("the trigger {trigger:?} must take what `WorkflowRef` names: `.payload::<{payload}>()`, or none for `()`")]
    PayloadOfAnotherType {
        /// The trigger.
        trigger: String,
        /// The name of the payload type.
        payload: &'static str,
    },
    /// Two triggers declare the same payload field with different types.
    #[error(
        "the payload field {field:?} is {one_kind} in the trigger {one:?} and {other_kind} in the trigger {other:?}: \
         steps could not rely on either"
    )]
    PayloadFieldConflict {
        /// The field.
        field: String,
        /// The trigger that declares the field first.
        one: String,
        /// The kind of the field in the first trigger.
        one_kind: FieldKind,
        /// The trigger that declares the field again.
        other: String,
        /// The kind of the field in that trigger.
        other_kind: FieldKind,
    },
    /// A cron trigger has no valid expression.
    #[error("the cron expression {expression:?} of the trigger {trigger:?} is not valid: {reason}")]
    InvalidCronExpression {
        /// The trigger.
        trigger: String,
        /// The expression, cut to 100 characters.
        expression: String,
        /// Why the expression is not valid.
        reason: String,
    },
    /// A cron trigger has no valid time zone.
    #[error(
        "the time zone {time_zone:?} of the trigger {trigger:?} is not known: use an IANA name such as `Europe/Berlin`"
    )]
    InvalidTimeZone {
        /// The trigger.
        trigger: String,
        /// The time zone, cut to 100 characters; empty if none was given.
        time_zone: String,
    },
    /// A cron trigger requires a payload that a schedule cannot provide.
    #[error(
        "the cron trigger {trigger:?} starts runs without a payload, which does not fit: {missing}; give these fields defaults"
    )]
    CronPayloadWithoutDefaults {
        /// The trigger.
        trigger: String,
        /// The errors of an empty payload.
        missing: PayloadErrors,
    },
    /// A manual trigger has an option that only a schedule can have.
    #[error("the trigger {trigger:?} is manual and cannot have the option `{option}`: use `Trigger::cron`")]
    CronOptionOnManualTrigger {
        /// The trigger.
        trigger: String,
        /// The option.
        option: &'static str,
    },

    /// The workflow has no step.
    #[error("there is no step: add one with `.step(Step::new(..))`")]
    NoStep,
    /// Two steps share a name.
    #[error("the step {step:?} is declared twice: give each its own name")]
    DuplicateStep {
        /// The name of both steps.
        step: String,
    },
    /// The output is to be stored under an empty key.
    #[error("the step {step:?} puts its output under an empty key")]
    EmptyOutputKey {
        /// The step.
        step: String,
    },
    /// An input key or a segment of an input path is empty.
    #[error("the step {step:?} has an empty key or path segment in its input")]
    EmptyInputKey {
        /// The step.
        step: String,
    },
    /// An input key is listed twice.
    #[error("the step {step:?} names the input key {key:?} twice")]
    DuplicateInputKey {
        /// The step.
        step: String,
        /// The key.
        key: String,
    },
    /// A retry policy allows no attempt.
    #[error("the {what} {step:?} allows no attempt: `max_attempts` counts the first one too and is at least 1")]
    ZeroAttempts {
        /// The step.
        step: String,
        /// What is retried: `step`, or `compensation of the step`.
        what: &'static str,
    },
    /// The minimum delay of a backoff is longer than its maximum.
    #[error("the backoff of the {what} {step:?} begins at {min:?}, which is more than its maximum of {max:?}")]
    InvertedBackoff {
        /// The step.
        step: String,
        /// What is retried: `step`, or `compensation of the step`.
        what: &'static str,
        /// The minimum delay.
        min: Duration,
        /// The maximum delay.
        max: Duration,
    },
    /// `terminal_if` is used on a built-in step, which has no errors to classify.
    #[error("the step {step:?} is built in and has no errors of the host's: remove `terminal_if`")]
    TerminalIfOnBuiltIn {
        /// The step.
        step: String,
    },
    /// An exponential backoff begins at zero, and doubling zero gives zero.
    #[error(
        "the {what} of the step {step:?} begins at zero and never grows to {max:?}: begin with some time, or say `Retry::fixed`"
    )]
    ZeroBackoff {
        /// The step.
        step: String,
        /// The name of the backoff.
        what: &'static str,
        /// The maximum delay.
        max: Duration,
    },
    /// The timeout of a step is zero.
    #[error("the step {step:?} has a timeout of zero: leave it out, or allow some time")]
    ZeroTimeout {
        /// The step.
        step: String,
    },
    /// A built-in step is declared as transactional.
    #[error(
        "the step {step:?} is a built-in ({kind}) and cannot be transactional: it has no handler to give a transaction"
    )]
    TransactionalBuiltIn {
        /// The step.
        step: String,
        /// The kind of the step.
        kind: &'static str,
    },
    /// A built-in step has a timeout.
    #[error("the step {step:?} is a built-in ({kind}) and cannot have a timeout")]
    TimeoutOnBuiltIn {
        /// The step.
        step: String,
        /// The kind of the step.
        kind: &'static str,
    },
    /// A duration is longer than a hundred years.
    #[error("the {what} of the step {step:?} is longer than a hundred years")]
    DurationTooLong {
        /// The step.
        step: String,
        /// The name of the duration.
        what: &'static str,
    },
    /// The duration of a wait is zero.
    #[error("the step {step:?} waits for no time at all")]
    ZeroWait {
        /// The step.
        step: String,
    },
    /// The deadline of an approval, or of a wait for a signal, is zero.
    #[error("the step {step:?} has a deadline of zero: leave it out, or allow some time")]
    ZeroDeadline {
        /// The step.
        step: String,
    },
    /// A step that waits neither for an approval nor for a signal has a deadline.
    #[error("the step {step:?} ({kind}) has a deadline: only an approval or a wait for a signal can have one")]
    DeadlineNotAllowed {
        /// The step.
        step: String,
        /// The kind of the step.
        kind: &'static str,
    },
    /// The deadline of an approval, or of a wait for a signal, leads to a step that does not exist.
    #[error("the deadline of the step {step:?} leads to {to:?}, which is not a step of this workflow{}", meant(.similar))]
    UnknownDeadlineTarget {
        /// The step that has the deadline.
        step: String,
        /// The name that the deadline leads to.
        to: String,
        /// The step of a similar name, if there is one.
        similar: Option<String>,
    },
    /// Two signals share a name.
    #[error("the signal {signal:?} is declared twice: give each its own name")]
    DuplicateSignal {
        /// The name of both signals.
        signal: String,
    },
    /// A step waits for a signal that is not declared.
    #[error("the step {step:?} waits for {signal:?}, which is not a signal of this workflow{}", meant(.similar))]
    UnknownSignal {
        /// The step.
        step: String,
        /// The unknown name.
        signal: String,
        /// The signal of a similar name, if there is one.
        similar: Option<String>,
    },
    /// The message of a log step is empty.
    #[error("the step {step:?} logs an empty message")]
    EmptyLogMessage {
        /// The step.
        step: String,
    },
    /// A step is declared both irreversible and compensatable.
    #[error("the step {step:?} is both irreversible and compensatable: it can be only one of them")]
    IrreversibleAndCompensatable {
        /// The step.
        step: String,
    },
    /// A step that cannot be compensated has a compensation handler.
    #[error("the step {step:?} has a compensation handler but is declared irreversible or not compensatable")]
    CompensateNotAllowed {
        /// The step.
        step: String,
    },
    /// A step has a retry policy for its compensation and no compensation handler.
    #[error("the step {step:?} has a retry policy for its compensation but no compensation: add one with `compensate`")]
    CompensationRetryWithoutHandler {
        /// The step.
        step: String,
    },

    /// The workflow has both transitions and dependencies.
    #[error(
        "the step {step:?} uses `after` and the step {from:?} has a transition: a workflow is made of either dependencies or \
         transitions"
    )]
    TransitionInDependencyWorkflow {
        /// The first step that uses `after`.
        step: String,
        /// The first step that has a transition.
        from: String,
    },
    /// A dependency does not exist.
    #[error("the step {step:?} is after {dependency:?}, which is not a step of this workflow{}", meant(.similar))]
    UnknownDependency {
        /// The step.
        step: String,
        /// The unknown name in its `after`.
        dependency: String,
        /// The step of a similar name, if there is one.
        similar: Option<String>,
    },
    /// A step depends on itself.
    #[error("the step {step:?} is after itself")]
    SelfDependency {
        /// The step.
        step: String,
    },
    /// A step lists a dependency twice.
    #[error("the step {step:?} is after {dependency:?} twice")]
    DuplicateDependency {
        /// The step.
        step: String,
        /// The repeated name in its `after`.
        dependency: String,
    },
    /// The `after` of a step is empty.
    #[error("the step {step:?} has an `after` that names no step: leave it out")]
    EmptyDependencies {
        /// The step.
        step: String,
    },
    /// Steps depend on each other in a cycle.
    #[error("dependency cycle: {}; none of these steps could ever start", cycle(.steps))]
    DependencyCycle {
        /// The steps of the cycle: each is after the next one, and the last after the first.
        steps: Vec<String>,
    },
    /// A pause, an approval or a wait for a signal is used in a dependency workflow.
    #[error(
        "the step {step:?} ({kind}) waits for a person or a signal and needs transitions: it cannot stand in a dependency workflow"
    )]
    ManualStepInDependencyWorkflow {
        /// The step.
        step: String,
        /// `"pause"`, `"approval"` or `"wait_for"`.
        kind: &'static str,
    },
    /// Two transitions leave a step with the same outcome.
    #[error("the step {from:?} has two transitions for the outcome {on}")]
    DuplicateTransition {
        /// The step that the transitions leave.
        from: String,
        /// The outcome.
        on: TransitionOutcome,
    },
    /// A transition leaves a step that does not exist.
    #[error("a transition on {on} leaves {from:?}, which is not a step of this workflow{}", meant(.similar))]
    UnknownTransitionSource {
        /// The unknown name.
        from: String,
        /// The outcome.
        on: TransitionOutcome,
        /// The step of a similar name, if there is one.
        similar: Option<String>,
    },
    /// A transition leads to a step that does not exist.
    #[error("the transition of the step {from:?} on {on} leads to {to:?}, which is not a step of this workflow{}", meant(.similar))]
    UnknownTransitionTarget {
        /// The step that the transition leaves.
        from: String,
        /// The outcome.
        on: TransitionOutcome,
        /// The unknown name.
        to: String,
        /// The step of a similar name, if there is one.
        similar: Option<String>,
    },
    /// A step of a transition workflow leads nowhere when it completes.
    #[error(
        "the step {step:?} leads nowhere when it completes: add `.then({step:?}, COMPLETE)`, or name the step that follows, or end in failure with `FAIL`"
    )]
    NoSuccessor {
        /// The step.
        step: String,
    },
    /// The conditions, routes or error kinds of the transitions that leave a step cannot be meant.
    #[error("the step {from:?} {problem}")]
    Guard {
        /// The step that the transitions leave.
        from: String,
        /// What is wrong with them.
        problem: GuardProblem,
    },
    /// A workflow has several steps and nothing that orders them.
    #[error(
        "nothing says in which order the steps run: connect them with `.then(..)`, or with `.after([..])` on a step; if they \
         are to start all at once, call `.parallel()`"
    )]
    NoEdges,
    /// A workflow with edges is declared parallel.
    #[error("the workflow is declared `parallel`, but its steps are connected: remove one of the two")]
    ParallelWithEdges,
    /// A step's output type is not an object, and no key is declared for it.
    #[error(
        "the output of the step {step:?} is {found}, which is not an object: declare a key for it with `.output(\"..\")`"
    )]
    OutputWithoutKey {
        /// The step.
        step: String,
        /// The type of the output.
        found: &'static str,
    },
    /// A step wants an input key that no payload field and no output provides.
    #[error("the step {step:?} wants the input {key:?}, which no payload field and no step output provides{}", meant(.similar))]
    UnknownInput {
        /// The step.
        step: String,
        /// The key, or the first segment of the path.
        key: String,
        /// The provided key of a similar name, if there is one.
        similar: Option<String>,
    },
    /// The type of the result requires a field that no output provides.
    #[error("no output provides the field {key:?} of the result that `WorkflowRef` names{}", meant(.similar))]
    UnknownResult {
        /// The field.
        key: String,
        /// The key of a similar name that an output provides, if there is one.
        similar: Option<String>,
    },
    /// The workflow has no single entry step.
    #[error("exactly one step must have no transition leading to it, so that a run can begin there; here it is {}", listed(.steps))]
    NotOneEntryStep {
        /// The steps that no transition leads to.
        steps: Vec<String>,
    },
    /// A recovery route was declared before any transition.
    #[error("a recovery route belongs to no transition: call `recovery` right after `on_error`")]
    RecoveryWithoutTransition,
    /// An ok transition has a recovery route.
    #[error("the transition of the step {from:?} on ok is marked as recovery: only an error transition can be")]
    RecoveryOnOkTransition {
        /// The step that the transition leaves.
        from: String,
    },
    /// An approval lacks a transition for one of its outcomes.
    #[error(
        "the approval {step:?} has no transition for the outcome {on}: it needs one for ok (approved) and one for error (rejected)"
    )]
    ApprovalTransitionMissing {
        /// The step.
        step: String,
        /// The outcome without a transition.
        on: TransitionOutcome,
    },
    /// Transitions form a cycle.
    #[error("transition cycle: {}; a step runs once in a run: use its `retry` to repeat a failed one", cycle(.steps))]
    TransitionCycle {
        /// The steps of the cycle: a transition leads from each to the next, and from the last to the first.
        steps: Vec<String>,
    },
    /// No run can ever reach a step.
    #[error("the step {step:?} can never be reached")]
    UnreachableStep {
        /// The step.
        step: String,
    },
    /// The definition as a whole cannot be stored.
    #[error("the definition cannot be stored: {0}")]
    NotStorable(JsonViolation),
}

/// The maximum number of names in a message.
const LISTED: usize = 20;

fn cycle(steps: &[String]) -> String {
    let mut text = String::new();
    for step in steps.iter().take(LISTED) {
        text.push_str(step);
        text.push_str(" → ");
    }
    if steps.len() > LISTED {
        text.push_str("… → ");
    }
    text.push_str(steps.first().map_or("", String::as_str));
    text
}

fn listed(steps: &[String]) -> String {
    match steps.len() {
        0 => "none".to_owned(),
        count if count > LISTED => {
            format!("{} and {} more", steps.get(..LISTED).unwrap_or_default().join(", "), count - LISTED)
        }
        _ => steps.join(", "),
    }
}
