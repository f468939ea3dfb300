//! The rules about edges: dependencies and transitions, and what follows from them for the steps.

use std::collections::{HashMap, HashSet};

use super::super::Shape;
use super::super::cycle::cycles;
use super::super::draft::{Draft, StepDraft, TargetDraft, TransitionDraft};
use super::super::error::DefinitionError;
use super::super::graph::{connect, slot};
use super::super::guard_problem::GuardProblem;
use super::super::step::StepKind;
use super::super::transition::{Guard, TransitionOutcome};
use super::guards;
use super::names::Names;

/// The edges by the positions of the steps. Complete only if no error was found.
#[derive(Default)]
pub(super) struct Edges {
    pub(super) entries: Vec<usize>,
    pub(super) transitions: Vec<[Option<usize>; 2]>,
    pub(super) guarded: HashMap<usize, Vec<usize>>,
    pub(super) dependencies: Vec<Vec<usize>>,
    pub(super) dependents: Vec<Vec<usize>>,
    /// For each step, the target of its deadline, if it names a step that exists.
    pub(super) deadlines: Vec<Option<usize>>,
    /// For each transition, its ends, if both exist.
    pub(super) ends: Vec<Option<Ends>>,
}

/// The source and the target of a transition; the target is `None` for completion.
pub(super) type Ends = (usize, Option<usize>);

pub(super) fn check(draft: &Draft, shape: Shape, errors: &mut Vec<DefinitionError>) -> Edges {
    let mut edges = Edges::default();
    let found = errors.len();
    let names = Names::of(draft, errors);
    dependencies(draft, &names, &mut edges, errors);
    transitions(draft, &names, &mut edges, errors);
    guards::check(draft, errors);
    deadlines(draft, &names, &mut edges, errors);
    mixture(draft, errors);
    let known = Known::of(errors.get(found..).unwrap_or_default());
    match shape {
        Shape::Transitions => walk(draft, known, &mut edges, errors),
        Shape::Dependencies => arrange(draft, &mut edges, errors),
    }
    manual_steps(draft, shape, known, &edges, errors);
    edges
}

/// Which ends of the edges are known. What follows from a wrong name is no error of its own.
#[derive(Clone, Copy)]
struct Known {
    /// Every edge leaves the step that it is meant to leave.
    sources: bool,
    /// Every edge also leads to the step that it is meant to lead to.
    targets: bool,
}

impl Known {
    fn of(errors: &[DefinitionError]) -> Self {
        use DefinitionError::{DuplicateStep, UnknownDeadlineTarget, UnknownTransitionSource, UnknownTransitionTarget};
        let no_source =
            |error: &DefinitionError| matches!(error, DuplicateStep { .. } | UnknownTransitionSource { .. });
        let no_target =
            |error: &DefinitionError| matches!(error, UnknownTransitionTarget { .. } | UnknownDeadlineTarget { .. });
        let sources = !errors.iter().any(no_source);
        Known { sources, targets: sources && !errors.iter().any(no_target) }
    }
}

fn dependencies(draft: &Draft, names: &Names<'_>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    for step in &draft.steps {
        let mut found = Vec::new();
        if step.after.as_ref().is_some_and(Vec::is_empty) {
            errors.push(DefinitionError::EmptyDependencies { step: step.name.clone() });
        }
        let mut seen = HashSet::new();
        for dependency in step.after.iter().flatten() {
            let named = || (step.name.clone(), dependency.clone());
            if !seen.insert(dependency) {
                let (step, dependency) = named();
                errors.push(DefinitionError::DuplicateDependency { step, dependency });
            } else if *dependency == step.name {
                errors.push(DefinitionError::SelfDependency { step: step.name.clone() });
            } else if let Some(place) = names.place(dependency) {
                found.push(place);
            } else {
                let (step, dependency) = named();
                let similar = names.similar(&dependency);
                errors.push(DefinitionError::UnknownDependency { step, dependency, similar });
            }
        }
        edges.dependencies.push(found);
    }
}

fn transitions(draft: &Draft, names: &Names<'_>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    edges.transitions = vec![[None; 2]; draft.steps.len()];
    let mut seen = HashSet::new();
    for (index, transition) in draft.transitions.iter().enumerate() {
        let on = transition.on;
        let leaves = || transition.from.clone();
        if on == TransitionOutcome::Ok && transition.recovery.is_some() {
            errors.push(DefinitionError::RecoveryOnOkTransition { from: leaves() });
        }
        let from = names.place(&transition.from);
        if from.is_none() {
            let similar = names.similar(&transition.from);
            errors.push(DefinitionError::UnknownTransitionSource { from: leaves(), on, similar });
        }
        let to = match &transition.to {
            TargetDraft::Complete | TargetDraft::Fail => Some(None),
            TargetDraft::Step(to) => match names.place(to) {
                Some(place) => Some(Some(place)),
                None => {
                    let (to, similar) = (to.clone(), names.similar(to));
                    errors.push(DefinitionError::UnknownTransitionTarget { from: leaves(), on, to, similar });
                    None
                }
            },
        };
        if transition.guard.is_some() {
            if let Some(from) = from {
                edges.guarded.entry(from).or_default().push(index);
            }
        } else if !seen.insert((transition.from.as_str(), on)) {
            errors.push(DefinitionError::DuplicateTransition { from: leaves(), on });
        } else if let Some(free) = from.and_then(|from| edges.transitions.get_mut(from)?.get_mut(slot(on))) {
            *free = Some(index);
        }
        edges.ends.push(from.zip(to));
    }
}

fn deadlines(draft: &Draft, names: &Names<'_>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    for step in &draft.steps {
        let to = match step.deadline.as_ref().and_then(|deadline| deadline.to.as_ref()) {
            Some(TargetDraft::Step(to)) => Some(to),
            Some(TargetDraft::Complete | TargetDraft::Fail) | None => None,
        };
        let place = to.and_then(|to| names.place(to));
        if let (Some(to), None) = (to, place) {
            let (step, to, similar) = (step.name.clone(), to.clone(), names.similar(to));
            errors.push(DefinitionError::UnknownDeadlineTarget { step, to, similar });
        }
        edges.deadlines.push(place);
    }
}

/// Reports a workflow that mixes dependencies and transitions.
fn mixture(draft: &Draft, errors: &mut Vec<DefinitionError>) {
    let step = draft.steps.iter().find(|step| step.after.is_some());
    if let (Some(step), Some(transition)) = (step, draft.transitions.first()) {
        let (step, from) = (step.name.clone(), transition.from.clone());
        errors.push(DefinitionError::TransitionInDependencyWorkflow { step, from });
    }
}

/// Checks the graph of a transition workflow: no cycle and, if all its edges are known, one entry step, every step
/// reachable, and none that leads nowhere.
fn walk(draft: &Draft, known: Known, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    let count = draft.steps.len();
    let transitions = draft.transitions.iter().zip(&edges.ends).filter_map(|(transition, ends)| {
        let (from, to) = (*ends)?;
        let is_possible = draft.steps.get(from).is_some_and(|step| can_take(step, transition));
        Some((from, to?, is_possible))
    });
    let deadlines = edges.deadlines.iter().enumerate().filter_map(|(from, to)| Some((from, (*to)?, true)));
    let (mut next, mut reachable_next) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    let mut targets = HashSet::new();
    for (from, to, is_reachable) in transitions.chain(deadlines) {
        connect(&mut next, from, to);
        if is_reachable {
            connect(&mut reachable_next, from, to);
        }
        if from != to {
            targets.insert(to);
        }
    }
    let cycles = cycles(&next);
    let has_cycle = !cycles.is_empty();
    errors.extend(cycles.into_iter().map(|cycle| DefinitionError::TransitionCycle { steps: named(draft, &cycle) }));
    edges.entries = (0..count).filter(|place| !targets.contains(place)).collect();
    edges.dependents = vec![Vec::new(); count];
    if known.sources {
        ends(draft, edges, errors);
    }
    if !known.targets {
        return;
    }
    match edges.entries.as_slice() {
        // A cycle that holds the entry step was reported.
        [] if has_cycle => {}
        [entry] => {
            let reached = reached(*entry, &reachable_next);
            let missed = (0..count).filter(|place| !reached.contains(place)).collect::<Vec<_>>();
            errors.extend(named(draft, &missed).into_iter().map(|step| DefinitionError::UnreachableStep { step }));
        }
        _ if count > 0 => errors.push(DefinitionError::NotOneEntryStep { steps: named(draft, &edges.entries) }),
        _ => {}
    }
}

/// Reports steps that lead nowhere when they complete. Approvals are checked for both outcomes elsewhere.
fn ends(draft: &Draft, edges: &Edges, errors: &mut Vec<DefinitionError>) {
    let leads_on = |place: usize| {
        edges.transitions.get(place).and_then(|pair| pair.get(slot(TransitionOutcome::Ok))).is_some_and(Option::is_some)
    };
    let chooses = |place: usize| {
        let guarded = edges.guarded.get(&place).into_iter().flatten();
        let mut guarded = guarded.filter_map(|index| draft.transitions.get(*index));
        guarded.any(|transition| transition.on == TransitionOutcome::Ok)
    };
    let stuck =
        draft.steps.iter().enumerate().filter(|(place, step)| step.kind != StepKind::Approval && !leads_on(*place));
    errors.extend(stuck.map(|(place, step)| match (step.name.clone(), chooses(place)) {
        (from, true) => DefinitionError::Guard { from, problem: GuardProblem::NoOtherwise },
        (step, false) => DefinitionError::NoSuccessor { step },
    }));
}

/// Returns whether a step can end in the way that a transition is for. Waiting, logging and pausing never fail, so steps
/// that only their failure leads to are never reached. An approval fails by being rejected, or by expiring unless
/// its deadline has its own target. A wait for a signal fails by expiring, or by a payload too large for the context.
fn can_take(step: &StepDraft, transition: &TransitionDraft) -> bool {
    let expires = || step.deadline.as_ref().is_some_and(|deadline| deadline.to.is_none());
    match (&step.kind, &transition.guard) {
        _ if transition.on == TransitionOutcome::Ok => true,
        (StepKind::Handler, _) | (StepKind::Approval | StepKind::WaitFor { .. }, None) => true,
        (StepKind::WaitFor { .. }, Some(Guard::Kind(kind))) => match kind.as_str() {
            "expired" => expires(),
            "context_too_large" | "invalid_output" => true,
            _ => false,
        },
        (StepKind::Approval, Some(Guard::Kind(kind))) => kind == "rejected" || (kind == "expired" && expires()),
        _ => false,
    }
}

fn reached(entry: usize, next: &[Vec<usize>]) -> HashSet<usize> {
    let mut reached = HashSet::from([entry]);
    let mut pending = vec![entry];
    while let Some(place) = pending.pop() {
        pending.extend(next.get(place).into_iter().flatten().filter(|next| reached.insert(**next)));
    }
    reached
}

/// Inverts dependencies, so that each step knows its dependents, and reports cycles.
fn arrange(draft: &Draft, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    errors.extend(
        cycles(&edges.dependencies)
            .into_iter()
            .map(|cycle| DefinitionError::DependencyCycle { steps: named(draft, &cycle) }),
    );
    let mut dependents = vec![Vec::new(); draft.steps.len()];
    for (place, dependencies) in edges.dependencies.iter().enumerate() {
        for dependency in dependencies {
            connect(&mut dependents, *dependency, place);
        }
        if dependencies.is_empty() {
            edges.entries.push(place);
        }
    }
    edges.dependents = dependents;
}

/// Reports pauses, approvals and waits for signals in dependency workflows, and approvals without a transition for each
/// decision.
fn manual_steps(draft: &Draft, shape: Shape, known: Known, edges: &Edges, errors: &mut Vec<DefinitionError>) {
    for (place, step) in draft.steps.iter().enumerate() {
        let manual = matches!(step.kind, StepKind::Pause | StepKind::Approval | StepKind::WaitFor { .. });
        if manual && draft.is_unconnected() {
            // Nobody meant a dependency workflow: of several steps, their order is missing.
            if draft.steps.len() == 1 && step.kind == StepKind::Approval {
                missing_decisions(step, place, edges, errors);
            } else if draft.steps.len() == 1 {
                errors.push(DefinitionError::NoSuccessor { step: step.name.clone() });
            }
        } else if manual && shape == Shape::Dependencies {
            let (step, kind) = (step.name.clone(), step.kind.word());
            errors.push(DefinitionError::ManualStepInDependencyWorkflow { step, kind });
        } else if step.kind == StepKind::Approval && known.sources {
            missing_decisions(step, place, edges, errors);
        }
    }
}

/// Reports the outcomes of an approval that have no transition.
fn missing_decisions(step: &StepDraft, place: usize, edges: &Edges, errors: &mut Vec<DefinitionError>) {
    for on in [TransitionOutcome::Ok, TransitionOutcome::Error] {
        if edges.transitions.get(place).is_some_and(|pair| pair.get(slot(on)).is_some_and(Option::is_none)) {
            errors.push(DefinitionError::ApprovalTransitionMissing { step: step.name.clone(), on });
        }
    }
}

fn named(draft: &Draft, places: &[usize]) -> Vec<String> {
    places.iter().filter_map(|place| draft.steps.get(*place)).map(|step| step.name.clone()).collect()
}
