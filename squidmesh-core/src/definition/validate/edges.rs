//! The rules about edges: dependencies and transitions, and what follows from them for the steps.

use std::collections::{HashMap, HashSet};

use super::super::Shape;
use super::super::cycle::cycles;
use super::super::draft::{Draft, TargetDraft};
use super::super::error::DefinitionError;
use super::super::graph::{connect, slot};
use super::super::step::StepKind;
use super::super::transition::TransitionOutcome;

/// The edges by the positions of the steps. Complete only if no error was found.
#[derive(Default)]
pub(super) struct Edges {
    pub(super) entries: Vec<usize>,
    pub(super) transitions: Vec<[Option<usize>; 2]>,
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
    let places = places(draft, errors);
    let mut edges = Edges::default();
    dependencies(draft, &places, &mut edges, errors);
    transitions(draft, &places, &mut edges, errors);
    deadlines(draft, &places, &mut edges, errors);
    mixture(draft, errors);
    match shape {
        Shape::Transitions => walk(draft, &mut edges, errors),
        Shape::Dependencies => arrange(draft, &mut edges, errors),
    }
    manual_steps(draft, shape, &edges, errors);
    edges
}

/// Returns where each name is declared first, and reports duplicates.
fn places<'a>(draft: &'a Draft, errors: &mut Vec<DefinitionError>) -> HashMap<&'a str, usize> {
    let mut places = HashMap::with_capacity(draft.steps.len());
    let mut twice = HashSet::new();
    for (place, step) in draft.steps.iter().enumerate() {
        let name = step.name.as_str();
        if places.contains_key(name) {
            if twice.insert(name) {
                errors.push(DefinitionError::DuplicateStep { step: name.to_owned() });
            }
        } else {
            places.insert(name, place);
        }
    }
    places
}

fn dependencies(draft: &Draft, places: &HashMap<&str, usize>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
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
            } else if let Some(place) = places.get(dependency.as_str()) {
                found.push(*place);
            } else {
                let (step, dependency) = named();
                errors.push(DefinitionError::UnknownDependency { step, dependency });
            }
        }
        edges.dependencies.push(found);
    }
}

fn transitions(draft: &Draft, places: &HashMap<&str, usize>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    edges.transitions = vec![[None; 2]; draft.steps.len()];
    let mut seen = HashSet::new();
    for (index, transition) in draft.transitions.iter().enumerate() {
        let on = transition.on;
        let leaves = || transition.from.clone();
        if on == TransitionOutcome::Ok && transition.recovery.is_some() {
            errors.push(DefinitionError::RecoveryOnOkTransition { from: leaves() });
        }
        let from = places.get(transition.from.as_str()).copied();
        if from.is_none() {
            errors.push(DefinitionError::UnknownTransitionSource { from: leaves(), on });
        }
        let to = match &transition.to {
            TargetDraft::Complete => Some(None),
            TargetDraft::Step(to) => match places.get(to.as_str()) {
                Some(place) => Some(Some(*place)),
                None => {
                    errors.push(DefinitionError::UnknownTransitionTarget { from: leaves(), on, to: to.clone() });
                    None
                }
            },
        };
        if !seen.insert((transition.from.as_str(), on)) {
            errors.push(DefinitionError::DuplicateTransition { from: leaves(), on });
        } else if let Some(free) = from.and_then(|from| edges.transitions.get_mut(from)?.get_mut(slot(on))) {
            *free = Some(index);
        }
        edges.ends.push(from.zip(to));
    }
}

fn deadlines(draft: &Draft, places: &HashMap<&str, usize>, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    for step in &draft.steps {
        let to = match step.deadline.as_ref().and_then(|deadline| deadline.to.as_ref()) {
            Some(TargetDraft::Step(to)) => Some(to),
            Some(TargetDraft::Complete) | None => None,
        };
        let place = to.and_then(|to| places.get(to.as_str()).copied());
        if let (Some(to), None) = (to, place) {
            errors.push(DefinitionError::UnknownDeadlineTarget { step: step.name.clone(), to: to.clone() });
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

/// Checks the graph of a transition workflow: one entry step, no cycle, and every step reachable.
fn walk(draft: &Draft, edges: &mut Edges, errors: &mut Vec<DefinitionError>) {
    let count = draft.steps.len();
    let transitions = draft.transitions.iter().zip(&edges.ends).filter_map(|(transition, ends)| {
        let (from, to) = (*ends)?;
        let fails = draft.steps.get(from).is_some_and(|step| can_fail(&step.kind));
        Some((from, to?, transition.on == TransitionOutcome::Ok || fails))
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
    errors.extend(
        cycles(&next).into_iter().map(|cycle| DefinitionError::TransitionCycle { steps: named(draft, &cycle) }),
    );
    edges.entries = (0..count).filter(|place| !targets.contains(place)).collect();
    edges.dependents = vec![Vec::new(); count];
    match edges.entries.as_slice() {
        [entry] => {
            let reached = reached(*entry, &reachable_next);
            let missed = (0..count).filter(|place| !reached.contains(place)).collect::<Vec<_>>();
            errors.extend(named(draft, &missed).into_iter().map(|step| DefinitionError::UnreachableStep { step }));
        }
        _ if count > 0 => errors.push(DefinitionError::NotOneEntryStep { steps: named(draft, &edges.entries) }),
        _ => {}
    }
}

/// Returns whether a step can fail. Waiting, logging and pausing never fail, so steps that only their failure
/// leads to are never reached.
fn can_fail(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Handler | StepKind::Approval)
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

/// Reports pauses and approvals in dependency workflows, and approvals without a transition for each decision.
fn manual_steps(draft: &Draft, shape: Shape, edges: &Edges, errors: &mut Vec<DefinitionError>) {
    for (place, step) in draft.steps.iter().enumerate() {
        let manual = matches!(step.kind, StepKind::Pause | StepKind::Approval);
        if manual && shape == Shape::Dependencies {
            let (step, kind) = (step.name.clone(), step.kind.word());
            errors.push(DefinitionError::ManualStepInDependencyWorkflow { step, kind });
        } else if step.kind == StepKind::Approval {
            for on in [TransitionOutcome::Ok, TransitionOutcome::Error] {
                if edges.transitions.get(place).is_some_and(|pair| pair.get(slot(on)).is_some_and(Option::is_none)) {
                    errors.push(DefinitionError::ApprovalTransitionMissing { step: step.name.clone(), on });
                }
            }
        }
    }
}

fn named(draft: &Draft, places: &[usize]) -> Vec<String> {
    places.iter().filter_map(|place| draft.steps.get(*place)).map(|step| step.name.clone()).collect()
}
