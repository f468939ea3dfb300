//! The edges of a validated definition, indexed for fast look-up.
//!
//! Knows steps by their position in the order of declaration only. Nothing here recurses: a chain may be 10,000
//! steps long.

use std::collections::{HashMap, HashSet};

use super::transition::TransitionOutcome;
use crate::name::StepName;

#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) positions: HashMap<StepName, usize>,
    pub(super) entries: Vec<usize>,
    /// For each step, the positions of its transitions on ok and on error that have no guard.
    pub(super) transitions: Vec<[Option<usize>; 2]>,
    /// For each step that has some, the positions of its transitions with a guard, in the order of declaration.
    pub(super) guarded: HashMap<usize, Vec<usize>>,
    /// For each step, its dependencies, in the order in which it names them.
    pub(super) dependencies: Vec<Vec<usize>>,
    /// For each step, its dependents, in the order of declaration.
    pub(super) dependents: Vec<Vec<usize>>,
}

/// Returns the index of an outcome in a step's pair of transitions.
pub(super) fn slot(on: TransitionOutcome) -> usize {
    match on {
        TransitionOutcome::Ok => 0,
        TransitionOutcome::Error => 1,
    }
}

/// Adds an edge to lists of the positions that each position leads to.
pub(super) fn connect(edges: &mut [Vec<usize>], from: usize, to: usize) {
    if let Some(targets) = edges.get_mut(from) {
        targets.push(to);
    }
}

impl Graph {
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    pub(super) fn transition(&self, step: usize, on: TransitionOutcome) -> Option<usize> {
        *self.transitions.get(step)?.get(slot(on))?
    }

    pub(super) fn guarded(&self, step: usize) -> &[usize] {
        self.guarded.get(&step).map_or(&[], Vec::as_slice)
    }

    pub(super) fn dependents(&self, step: usize) -> &[usize] {
        self.dependents.get(step).map_or(&[], Vec::as_slice)
    }

    /// Returns all dependencies of a step, direct and indirect, in the order of declaration.
    pub(super) fn ancestors(&self, step: usize) -> Vec<usize> {
        let dependencies = |step: usize| self.dependencies.get(step).into_iter().flatten().copied();
        let mut found = HashSet::new();
        let mut pending: Vec<usize> = dependencies(step).collect();
        while let Some(ancestor) = pending.pop() {
            if found.insert(ancestor) {
                pending.extend(dependencies(ancestor));
            }
        }
        let mut ancestors: Vec<usize> = found.into_iter().collect();
        ancestors.sort_unstable();
        ancestors
    }
}
