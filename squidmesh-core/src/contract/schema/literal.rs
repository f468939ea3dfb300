//! The values that `enum` and `const` allow, with look-up in constant time.

use std::collections::HashSet;

use serde_json::Value;

use crate::json::canonical;

/// A set of allowed values.
#[derive(Debug)]
pub(super) struct Literals {
    texts: HashSet<String>,
    longest: usize,
    /// The other values, in canonical form, in which equal values are equal texts.
    others: HashSet<String>,
    has_containers: bool,
    /// Whether it was declared as the only allowed value.
    pub(super) constant: bool,
}

impl Literals {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a Value>, constant: bool) -> Self {
        let mut literals =
            Literals { texts: HashSet::new(), longest: 0, others: HashSet::new(), has_containers: false, constant };
        for value in values {
            match value {
                Value::String(text) => {
                    literals.longest = literals.longest.max(text.len());
                    literals.texts.insert(text.clone());
                }
                other => {
                    literals.has_containers |= other.is_object() || other.is_array();
                    literals.others.insert(canonical(other));
                }
            }
        }
        literals
    }

    /// Returns whether a value is allowed, and the work that it took to decide.
    pub(super) fn have(&self, value: &Value) -> (bool, u64) {
        match value {
            Value::String(text) => (text.len() <= self.longest && self.texts.contains(text), 1),
            Value::Array(_) | Value::Object(_) if !self.has_containers => (false, 1),
            other => {
                let written = canonical(other);
                (self.others.contains(&written), u64::try_from(written.len() / 8).unwrap_or(u64::MAX))
            }
        }
    }

    /// Returns the strings, if there are no other values.
    pub(super) fn only_texts(&self) -> Option<&HashSet<String>> {
        self.others.is_empty().then_some(&self.texts)
    }

    /// Returns the allowed strings.
    pub(super) fn texts(&self) -> &HashSet<String> {
        &self.texts
    }
}
