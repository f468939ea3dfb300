//! The edges of a validated definition, arranged for quick answers.
//!
//! Knows steps by their place in the order of declaration only. Nothing here recurses: a chain may be 10,000 steps long.

use std::collections::{HashMap, HashSet};

use super::transition::TransitionOutcome;
use crate::name::StepName;

#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) positions: HashMap<StepName, usize>,
    pub(super) entries: Vec<usize>,
    /// For each step the places of its transitions, on ok and on error.
    pub(super) transitions: Vec<[Option<usize>; 2]>,
    /// For each step the steps that it is after, in the order in which it names them.
    pub(super) dependencies: Vec<Vec<usize>>,
    /// For each step the steps that are after it, in the order of declaration.
    pub(super) dependents: Vec<Vec<usize>>,
}

/// The place of an outcome in a step's pair of transitions.
pub(super) fn slot(on: TransitionOutcome) -> usize {
    match on {
        TransitionOutcome::Ok => 0,
        TransitionOutcome::Error => 1,
    }
}

impl Graph {
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    pub(super) fn entries(&self) -> &[usize] {
        &self.entries
    }

    pub(super) fn transition(&self, step: usize, on: TransitionOutcome) -> Option<usize> {
        *self.transitions.get(step)?.get(slot(on))?
    }

    pub(super) fn dependents(&self, step: usize) -> &[usize] {
        self.dependents.get(step).map_or(&[], Vec::as_slice)
    }

    /// Everything that a step depends on, directly or not, in the order of declaration.
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
