//! The declared names of the steps, and where each is declared.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::super::draft::Draft;
use super::super::error::DefinitionError;
use super::super::similar::{MAX_SUGGESTIONS, similar};

/// The steps by name.
pub(super) struct Names<'a> {
    draft: &'a Draft,
    places: HashMap<&'a str, usize>,
    /// The number of names that may still be compared with all others.
    suggestions: Cell<usize>,
}

impl<'a> Names<'a> {
    /// Returns where each name is declared first, and reports duplicates.
    pub(super) fn of(draft: &'a Draft, errors: &mut Vec<DefinitionError>) -> Self {
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
        Self { draft, places, suggestions: Cell::new(MAX_SUGGESTIONS) }
    }

    /// Returns the position of a step.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Returns the step that an unknown name was probably meant to be.
    pub(super) fn similar(&self, unknown: &str) -> Option<String> {
        let left = self.suggestions.get().checked_sub(1)?;
        self.suggestions.set(left);
        similar(unknown, self.draft.steps.iter().map(|step| step.name.as_str()))
    }
}
