//! Builds the index of the forms that a value may have.

use std::collections::HashMap;

use super::forms::{Forms, Index, NodeIndex};
use super::kinds::Kinds;
use super::node::Nodes;

/// The number of forms from which on an index is worth it, and the maximum number of tag names that it
/// distinguishes.
const MANY: usize = 4;
const TAGS: usize = 4;

impl Forms {
    /// Builds the index, once every node is compiled.
    pub(super) fn indexed(&self, nodes: &Nodes) -> Self {
        let index = (self.all.len() >= MANY).then(|| {
            let mut index = Index::default();
            self.all.iter().for_each(|form| index.add(*form, nodes));
            index
        });
        Forms { all: self.all.clone(), index }
    }
}

impl Index {
    fn add(&mut self, form: NodeIndex, nodes: &Nodes) {
        let node = nodes.behind(form);
        for kind in 0..Kinds::NAMES.len() {
            if node.kinds.is_some_and(|kinds| !kinds.may_have(kind)) {
                continue;
            }
            match kind {
                Kinds::TEXT if !node.literals.is_empty() => {
                    let texts = node.literals.iter().flat_map(|literals| literals.texts());
                    texts.for_each(|text| push(self.by_text.entry(text.clone()).or_default(), form));
                }
                Kinds::OBJECT => self.add_object(form, nodes),
                _ => self.of_kind(kind, form),
            }
        }
    }

    fn of_kind(&mut self, kind: usize, form: NodeIndex) {
        if let Some(forms) = self.by_kind.get_mut(kind) {
            push(forms, form);
        }
    }

    fn add_object(&mut self, form: NodeIndex, nodes: &Nodes) {
        let Some(object) = &nodes.behind(form).object else { return self.of_kind(Kinds::OBJECT, form) };
        let tag = object.required.iter().find_map(|name| {
            let literals = nodes.behind(*object.fields.get(name)?).literals.first()?;
            Some((name, literals.only_texts()?))
        });
        if let Some((name, texts)) = tag
            && let Some(tags) = self.tags_named(name)
        {
            texts.iter().for_each(|text| push(tags.entry(text.clone()).or_default(), form));
        } else if let Some(key) = object.required.first() {
            push(self.by_key.entry(key.clone()).or_default(), form);
        } else {
            self.of_kind(Kinds::OBJECT, form);
        }
    }

    fn tags_named(&mut self, name: &str) -> Option<&mut HashMap<String, Vec<NodeIndex>>> {
        let place = self.by_tag.iter().position(|(known, _)| known == name).unwrap_or(self.by_tag.len());
        if place == self.by_tag.len() && place < TAGS {
            self.by_tag.push((name.to_owned(), HashMap::new()));
        }
        self.by_tag.get_mut(place).map(|(_, tags)| tags)
    }
}

fn push(forms: &mut Vec<NodeIndex>, form: NodeIndex) {
    if forms.last() != Some(&form) {
        forms.push(form);
    }
}
