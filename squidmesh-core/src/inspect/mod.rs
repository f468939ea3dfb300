//! Explaining runs from what is recorded: pure functions of a run's state, its definition and its history.
//!
//! Knows what the engine would accept; decides and changes nothing.

mod explain;
mod graph;
#[cfg(test)]
mod tests;

pub use explain::{Evidence, Explanation, MissingVersion, NextAction, Reason, Subject, WaitsFor, explain};
pub use graph::{EdgeKind, Graph, GraphEdge, GraphNode, graph};
