//! A run as a graph, for drawing: its steps, its edges, and the path that was taken.

use std::fmt::Write;

use serde::Serialize;

use crate::definition::{Definition, Guard, Target, Transition, TransitionOutcome};
use crate::inspect::StepState;
use crate::name::StepName;
use crate::run::{FailureKind, RunSnapshot, RunStatus, StepRun, StepStatus};

/// The graph of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Graph {
    /// The declared steps, in order of declaration.
    pub nodes: Vec<GraphNode>,
    /// The edges, in order of declaration.
    pub edges: Vec<GraphEdge>,
}

/// A declared step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphNode {
    /// The name of the step.
    pub step: StepName,
    /// The state of the step.
    pub state: StepState,
}

/// The kind of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// The edge is followed when the step succeeds.
    Ok,
    /// The edge is followed when the step fails.
    Error,
    /// The edge is followed when the deadline of an approval or of a wait for a signal passes in vain.
    Deadline,
    /// The target depends on the source.
    Dependency,
}

/// An edge of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphEdge {
    /// The step that the edge leaves.
    pub from: StepName,
    /// The step that the edge leads to; `None` is the end of the run.
    pub to: Option<StepName>,
    /// The status in which the edge ends the run: completed or failed; `None` if it leads to a step.
    pub ends: Option<RunStatus>,
    /// The kind of the edge.
    pub kind: EdgeKind,
    /// What the edge needs besides, if it is one of several of its kind.
    pub guard: Option<Guard>,
    /// Whether the run took this edge.
    pub taken: bool,
}

/// Returns the graph of a run.
pub fn graph(state: &RunSnapshot, definition: &Definition) -> Graph {
    let status = |step: &StepName| state.steps.get(step).map(|run| run.status);
    let nodes = definition.steps().iter().map(|step| GraphNode {
        step: step.name.clone(),
        state: status(&step.name).map_or(StepState::Waiting, StepState::from),
    });
    let scheduled = |step: &StepName| state.steps.contains_key(step);
    let edge = |from: &StepName, to: &Target, kind: EdgeKind, guard: Option<&Guard>| {
        let ends = match to {
            Target::Step(_) => None,
            Target::Complete => Some(RunStatus::Completed),
            Target::Fail => Some(RunStatus::Failed),
        };
        let reached = to.step().map_or(ends == Some(state.run.status), scheduled);
        let run = state.steps.get(from);
        let by = match run.and_then(|run| run.taken.as_ref()) {
            Some(taken) => EdgeKind::of(taken.on) == kind && taken.to == *to && is_of(taken, guard, definition),
            None => guard.is_none() && run.and_then(|run| left_by(state, definition, run)) == Some(kind),
        };
        let taken = reached && by;
        GraphEdge { from: from.clone(), to: to.step().cloned(), ends, kind, guard: guard.cloned(), taken }
    };
    let transitions = definition.transitions().iter().map(|transition| {
        edge(&transition.from, &transition.to, EdgeKind::of(transition.on), transition.guard.as_ref())
    });
    let deadlines = definition.steps().iter().filter_map(|step| {
        let to = step.deadline.as_ref()?.to.as_ref()?;
        Some(edge(&step.name, to, EdgeKind::Deadline, None))
    });
    let dependencies = definition.steps().iter().flat_map(|step| {
        step.after.iter().map(|dependency| GraphEdge {
            from: dependency.clone(),
            to: Some(step.name.clone()),
            ends: None,
            kind: EdgeKind::Dependency,
            guard: None,
            taken: status(dependency) == Some(StepStatus::Completed) && scheduled(&step.name),
        })
    });
    Graph { nodes: nodes.collect(), edges: transitions.chain(deadlines).chain(dependencies).collect() }
}

/// Returns whether a transition that was taken is the one with this guard, of those with its outcome and target. If the
/// version declares it no more, any of them stands for it.
fn is_of(taken: &Transition, guard: Option<&Guard>, definition: &Definition) -> bool {
    let from = taken.from.as_str();
    let declared = definition.guarded_transitions(from).chain(definition.transition(from, taken.on));
    let same = |found: &Transition| (found.on, &found.to, &found.guard) == (taken.on, &taken.to, &taken.guard);
    taken.guard.as_ref() == guard || !declared.into_iter().any(same)
}

/// Returns the kind of edge by which a run left a step, if there was no choice. A rejected approval is completed, and
/// took the error transition; so did one whose deadline passed, unless the deadline has its own target.
fn left_by(state: &RunSnapshot, definition: &Definition, run: &StepRun) -> Option<EdgeKind> {
    let step = &run.step;
    // A route that is unknown leads nowhere.
    if state.run.last_error.as_ref().is_some_and(|failure| failure.is_unknown_route(step)) {
        return None;
    }
    let manual = run.manual.as_ref().map(|manual| manual.decision.as_str());
    let deadline = || definition.step(step.as_str())?.deadline.as_ref()?.to.as_ref();
    let expired = run.last_error.as_ref().is_some_and(|failure| failure.kind == FailureKind::EXPIRED);
    match (run.status, manual) {
        (StepStatus::Failed, _) if expired && deadline().is_some() => Some(EdgeKind::Deadline),
        (StepStatus::Failed, _) | (StepStatus::Completed, Some("rejected")) => Some(EdgeKind::Error),
        (StepStatus::Completed, Some("expired")) if deadline().is_some() => Some(EdgeKind::Deadline),
        (StepStatus::Completed, Some("expired")) => Some(EdgeKind::Error),
        (StepStatus::Completed, _) => Some(EdgeKind::Ok),
        _ => None,
    }
}

impl Graph {
    /// Returns the graph in the language of Mermaid.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (place, node) in self.nodes.iter().enumerate() {
            let label = escaped(node.step.as_str());
            let _ = writeln!(text, "    s{place}[\"{label}<br/>{}\"]:::{}", node.state.as_str(), node.state.as_str());
        }
        for end in self.ends() {
            let _ = writeln!(text, "    {end}(({end}))");
        }
        for edge in &self.edges {
            let (from, to) = (self.place(&edge.from), self.target(edge));
            let (arrow, label) = (if edge.taken { "==>" } else { "-.->" }, escaped(&edge.label()));
            let _ = writeln!(text, "    {from} {arrow}|{label}| {to}");
        }
        text
    }

    /// Returns the graph in the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph run {\n");
        for (place, node) in self.nodes.iter().enumerate() {
            let label = quoted(node.step.as_str());
            let _ = writeln!(text, "    s{place} [label=\"{label}\\n{}\", shape=box];", node.state.as_str());
        }
        for end in self.ends() {
            let _ = writeln!(text, "    {end} [label=\"{end}\", shape=doublecircle];");
        }
        for edge in &self.edges {
            let (from, to) = (self.place(&edge.from), self.target(edge));
            let style = if edge.taken { "bold" } else { "dashed" };
            let label = quoted(&edge.label());
            let _ = writeln!(text, "    {from} -> {to} [label=\"{label}\", style={style}];");
        }
        text.push_str("}\n");
        text
    }

    /// Returns the ends to draw, each once.
    fn ends(&self) -> impl Iterator<Item = RunStatus> {
        let is_used = |end: &RunStatus| self.edges.iter().any(|edge| edge.ends == Some(*end));
        [RunStatus::Completed, RunStatus::Failed].into_iter().filter(is_used)
    }

    fn target(&self, edge: &GraphEdge) -> String {
        match (&edge.to, edge.ends) {
            (Some(step), _) => self.place(step),
            (None, end) => end.unwrap_or(RunStatus::Completed).to_string(),
        }
    }

    fn place(&self, step: &StepName) -> String {
        format!("s{}", self.nodes.iter().position(|node| node.step == *step).unwrap_or_default())
    }
}

impl GraphEdge {
    /// Returns what the edge needs, if it is one of several of its kind, or its kind.
    fn label(&self) -> String {
        self.guard.as_ref().map_or_else(|| self.kind.label().to_owned(), Guard::to_string)
    }
}

impl EdgeKind {
    fn of(on: TransitionOutcome) -> Self {
        match on {
            TransitionOutcome::Ok => EdgeKind::Ok,
            TransitionOutcome::Error => EdgeKind::Error,
        }
    }

    fn label(self) -> &'static str {
        match self {
            EdgeKind::Ok => "ok",
            EdgeKind::Error => "error",
            EdgeKind::Deadline => "deadline",
            EdgeKind::Dependency => "after",
        }
    }
}

/// Escapes a label: Mermaid reads HTML entities in labels, with a number sign in place of the ampersand.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            c if c.is_alphanumeric() || " _-.".contains(c) => out.push(c),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
        out
    })
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
