//! The forms that a value may have (`anyOf`, `oneOf`), with an index of those that it can have at all.
//!
//! An enum of a thousand variants is a list of a thousand forms. A string or the tag of an object distinguishes
//! them, so the others need not be tried. The index never leaves out a form that the value fits.

use std::collections::HashMap;

use serde_json::Value;

use super::kinds::{Kinds, kind_of};

/// The position of a node in its schema.
pub(super) type NodeIndex = usize;

/// The forms, in order of declaration.
#[derive(Debug)]
pub(super) struct Forms {
    pub(super) all: Vec<NodeIndex>,
    pub(super) index: Option<Index>,
}

/// The forms, by what a value must be to have them. A form is in one list of each kind of value that it accepts.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) by_kind: [Vec<NodeIndex>; Kinds::NAMES.len()],
    pub(super) by_text: HashMap<String, Vec<NodeIndex>>,
    pub(super) by_tag: Vec<(String, HashMap<String, Vec<NodeIndex>>)>,
    pub(super) by_key: HashMap<String, Vec<NodeIndex>>,
}

impl Forms {
    pub(super) fn new(all: Vec<NodeIndex>) -> Self {
        Forms { all, index: None }
    }

    /// Returns the forms that a value may have, and the work that it took to find them.
    pub(super) fn candidates(&self, value: &Value) -> (Vec<NodeIndex>, u64) {
        match &self.index {
            Some(index) => index.candidates(value),
            None => (self.all.clone(), 1),
        }
    }
}

impl Index {
    fn candidates(&self, value: &Value) -> (Vec<NodeIndex>, u64) {
        let mut found = self.by_kind.get(kind_of(value)).cloned().unwrap_or_default();
        let mut work = 1;
        match value {
            Value::String(text) => found.extend(self.by_text.get(text).into_iter().flatten()),
            Value::Object(members) => {
                for (name, tags) in &self.by_tag {
                    let tag = members.get(name).and_then(Value::as_str);
                    found.extend(tag.and_then(|tag| tags.get(tag)).into_iter().flatten());
                }
                if !self.by_key.is_empty() {
                    work += u64::try_from(members.len()).unwrap_or(u64::MAX);
                    members.keys().for_each(|key| found.extend(self.by_key.get(key).into_iter().flatten()));
                }
            }
            _ => {}
        }
        (found, work)
    }
}
