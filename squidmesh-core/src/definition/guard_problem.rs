//! What can be wrong with the guards of the transitions that leave a step.

use super::similar::meant;
use super::transition::TransitionOutcome;

/// What is wrong with the guards of the transitions that leave a step. The message continues a sentence about the step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardProblem {
    /// There is no transition for when no other one is taken.
    #[error("has no transition for when none of its conditions holds and no route is chosen: add one with `then`")]
    NoOtherwise,
    /// Two transitions have the same guard.
    #[error("has two transitions for `{guard}`: the second one can never be taken")]
    Duplicate {
        /// The guard.
        guard: String,
    },
    /// A condition has no path, an empty segment in a path, or nothing to compare with.
    #[error("has a transition with the condition `{condition}`, which lacks a path or a value")]
    Incomplete {
        /// The condition.
        condition: String,
    },
    /// A condition is on a key that no payload field and no output provides.
    #[error("has a condition on {key:?}, which no payload field and no step output provides{}", meant(.similar))]
    UnknownKey {
        /// The first segment of the path.
        key: String,
        /// The provided key of a similar name, if there is one.
        similar: Option<String>,
    },
    /// An error kind is one that no failure can have.
    #[error("has a transition for an error kind that no failure can have: a kind has 1 to 100 bytes")]
    InvalidKind,
    /// A route leaves a step that has no handler.
    #[error("is of the kind {kind}, which has no handler that could choose a route: use `then_if`")]
    RouteOnBuiltIn {
        /// The kind of the step.
        kind: &'static str,
    },
    /// A condition or a route is on an error transition, or an error kind on an ok transition.
    #[error("has a transition on {on} for `{guard}`, which is of the other outcome")]
    OtherOutcome {
        /// The outcome.
        on: TransitionOutcome,
        /// The guard.
        guard: String,
    },
}
