//! A compiled schema: a list of nodes that refer to each other by place.
//!
//! Knows what each keyword needs for evaluation without reading the schema's text again; must never evaluate a
//! value.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Number;

use super::forms::{Forms, NodeIndex};
use super::kinds::Kinds;
use super::literal::Literals;
use super::text_rule::TextRule;

/// A compiled schema. Its root is the first node.
#[derive(Debug, Default)]
pub(super) struct Nodes(pub(super) Vec<Node>);

impl Nodes {
    /// Returns the node at a place. Every place comes from the same schema.
    pub(super) fn at(&self, place: NodeIndex) -> &Node {
        self.0.get(place).unwrap_or(&ANYTHING)
    }

    /// Returns the node that plain references lead to.
    pub(super) fn behind(&self, mut place: NodeIndex) -> &Node {
        // Cyclic references are refused when the schema is compiled.
        while let Some(next) = self.at(place).only_refers() {
            place = next;
        }
        self.at(place)
    }
}

static ANYTHING: Node = Node::anything();

/// One schema object. An absent part requires nothing.
#[derive(Debug)]
pub(super) struct Node {
    /// Whether it is the schema `false`.
    pub(super) never: bool,
    pub(super) kinds: Option<Kinds>,
    pub(super) literals: Vec<Literals>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) text: Option<Box<TextRules>>,
    pub(super) list: Option<Box<ListRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    pub(super) in_place: Option<Box<InPlace>>,
    /// Whether several paths lead here, so that results are worth caching.
    pub(super) shared: bool,
}

impl Node {
    const fn anything() -> Self {
        Node {
            never: false,
            kinds: None,
            literals: Vec::new(),
            number: None,
            text: None,
            list: None,
            object: None,
            in_place: None,
            shared: false,
        }
    }

    /// Returns whether it is evaluated without visiting the values within a value or another node.
    pub(super) fn is_simple(&self) -> bool {
        self.list.is_none() && self.object.is_none() && self.in_place.is_none()
    }

    /// Returns the node that it refers to, if it requires nothing else.
    pub(super) fn only_refers(&self) -> Option<NodeIndex> {
        let in_place = self.in_place.as_ref()?;
        let alone = !self.never
            && self.kinds.is_none()
            && self.literals.is_empty()
            && self.number.is_none()
            && self.text.is_none()
            && self.list.is_none()
            && self.object.is_none()
            && in_place.all.len() == 1
            && in_place.any.is_none()
            && in_place.one.is_none()
            && in_place.not.is_none()
            && in_place.condition.is_none();
        in_place.all.first().copied().filter(|_| alone)
    }
}

impl Default for Node {
    fn default() -> Self {
        Node::anything()
    }
}

#[derive(Debug, Default)]
pub(super) struct NumberRules {
    pub(super) minimum: Option<Number>,
    pub(super) above: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) below: Option<Number>,
    pub(super) multiple_of: Option<Arc<TextRule>>,
}

#[derive(Debug, Default)]
pub(super) struct TextRules {
    pub(super) shortest: Option<u64>,
    pub(super) longest: Option<u64>,
    pub(super) written: Vec<Arc<TextRule>>,
}

#[derive(Debug, Default)]
pub(super) struct ListRules {
    pub(super) first: Vec<NodeIndex>,
    pub(super) items: Option<NodeIndex>,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    pub(super) unique: bool,
    pub(super) contains: Option<Contains>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Contains {
    pub(super) item: NodeIndex,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct ObjectRules {
    pub(super) fields: HashMap<String, NodeIndex>,
    pub(super) patterns: Vec<(Arc<TextRule>, NodeIndex)>,
    /// The node of the members that neither fields nor patterns evaluate.
    pub(super) others: Option<NodeIndex>,
    /// The node of the members that no other node evaluates.
    pub(super) unevaluated: Option<NodeIndex>,
    pub(super) required: Vec<String>,
    pub(super) names: Option<NodeIndex>,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    pub(super) required_with: Vec<(String, Vec<String>)>,
    pub(super) also_with: Vec<(String, NodeIndex)>,
}

/// Other nodes that apply to the same value.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    /// The nodes that must all fit, references included.
    pub(super) all: Vec<NodeIndex>,
    pub(super) any: Option<Forms>,
    pub(super) one: Option<Forms>,
    pub(super) not: Option<NodeIndex>,
    pub(super) condition: Option<Condition>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) holds: NodeIndex,
    pub(super) then: Option<NodeIndex>,
    pub(super) otherwise: Option<NodeIndex>,
}
