//! Inspecting runs: [`RunDetails`], the [`Explanation`] of a run's state, its [`Graph`], and the [`Redaction`] of
//! texts of the host.
//!
//! Pure functions of a run's state, its definition and its history. Knows what the engine would accept; decides and
//! changes nothing.

mod details;
mod explain;
mod graph;
mod redaction;
mod result;
mod sentence;
#[cfg(test)]
mod tests;

pub use details::{RunDetails, SignalView, StepState, StepView};
pub use explain::{Evidence, Explanation, MissingVersion, NextAction, Reason, Subject, WaitsFor, explain};
pub use graph::{EdgeKind, Graph, GraphEdge, GraphNode, graph};
pub use redaction::{HostText, HostTextKind, Redaction, ShowEverything, ShowNothing, WITHHELD};
pub use result::NoResult;

pub(crate) use redaction::redacted;
