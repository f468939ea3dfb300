//! All errors of one definition together.

use std::fmt;

use super::error::DefinitionError;

/// All errors of a definition.
#[derive(Clone, PartialEq)]
pub struct DefinitionErrors {
    workflow: String,
    errors: Vec<DefinitionError>,
}

impl DefinitionErrors {
    /// Creates the errors of a workflow. There is at least one.
    pub(super) fn new(workflow: &str, errors: Vec<DefinitionError>) -> Self {
        Self { workflow: workflow.chars().take(100).collect(), errors }
    }

    /// Returns the name of the workflow, cut to 100 characters.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// Returns an iterator over the errors. There is at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, DefinitionError> {
        self.errors.iter()
    }

    /// Returns the number of errors. It is never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }
}

impl<'a> IntoIterator for &'a DefinitionErrors {
    type Item = &'a DefinitionError;
    type IntoIter = std::slice::Iter<'a, DefinitionError>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.iter()
    }
}

impl fmt::Display for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "the workflow {:?} has {count} {noun}:", self.workflow)?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

/// As [`Display`](fmt::Display): `main` prints the error that it returns in this form.
impl fmt::Debug for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for DefinitionErrors {}
