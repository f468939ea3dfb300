//! Compiles the text of a schema into nodes, and refuses schemas that could not be evaluated as meant, or not in
//! bounded time.
//!
//! Knows the keywords of JSON Schema (draft 2020-12) that are evaluated, and refuses the others: an ignored
//! keyword would accept values that the schema's author wanted to refuse. Nothing recurses, because schemas also
//! come from stored data.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::forms::{Forms, NodeIndex};
use super::kinds::Kinds;
use super::literal::Literals;
use super::node::{Condition, Contains, InPlace, Node, Nodes, ObjectRules};
use super::text_rule::TextRule;
use super::ways::check_ways;
use crate::contract::pointer::resolve;
use crate::json::truncate_text;

/// The string formats that are checked.
const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Compiles a schema.
///
/// # Errors
/// Returns the first error of the schema, and where it is.
pub(super) fn compile(root: &Value) -> Result<Nodes, String> {
    let mut compiler =
        Compiler { root, pending: Vec::new(), places: HashMap::new(), origins: Vec::new(), rules: HashMap::new() };
    compiler.place_of(root, 0, String::new());
    let mut nodes: Vec<Option<Node>> = Vec::new();
    while let Some((place, schema)) = compiler.pending.pop() {
        let node = compiler.node(place, schema).map_err(|reason| compiler.located(place, &reason))?;
        nodes.resize_with(compiler.origins.len(), || None);
        if let Some(slot) = nodes.get_mut(place) {
            *slot = Some(node);
        }
    }
    let mut nodes = Nodes(nodes.into_iter().map(Option::unwrap_or_default).collect());
    compiler.mark_shared(&mut nodes);
    check_ways(&nodes).map_err(|(place, reason)| compiler.located(place, reason))?;
    index_forms(&mut nodes);
    Ok(nodes)
}

struct Compiler<'a> {
    root: &'a Value,
    /// Schemas that have a place and no node yet.
    pending: Vec<(NodeIndex, &'a Value)>,
    places: HashMap<*const Value, (NodeIndex, u32)>,
    /// Where each place was first found: its parent, and the path from there.
    origins: Vec<(NodeIndex, String)>,
    /// The compiled rules, by keyword and text.
    rules: HashMap<(&'static str, String), Arc<TextRule>>,
}

/// The error of a keyword.
type Wrong = String;

fn not_a(what: &str) -> impl Fn() -> Wrong {
    move || format!("is not {what}")
}

impl<'a> Compiler<'a> {
    /// Returns the place of a schema, which is compiled later.
    fn place_of(&mut self, schema: &'a Value, parent: NodeIndex, way: String) -> NodeIndex {
        let next = self.origins.len();
        let (place, ways) = self.places.entry(ptr::from_ref(schema)).or_insert((next, 0));
        *ways += 1;
        let place = *place;
        if place == next {
            self.origins.push((parent, way));
            self.pending.push((place, schema));
        }
        place
    }

    /// Adds the path in the schema to an error.
    fn located(&self, place: NodeIndex, reason: &str) -> String {
        let mut ways = Vec::new();
        let mut at = place;
        while let Some((parent, way)) = self.origins.get(at).filter(|_| at > 0 && ways.len() < 100) {
            ways.push(way.as_str());
            at = *parent;
        }
        ways.reverse();
        let way = truncate_text(ways.concat(), 200);
        format!("{} (in the schema at #{way})", truncate_text(reason.to_owned(), 300))
    }

    fn node(&mut self, place: NodeIndex, schema: &'a Value) -> Result<Node, Wrong> {
        let keywords = match schema {
            Value::Bool(fits) => return Ok(Node { never: !fits, ..Node::default() }),
            Value::Object(keywords) => keywords,
            _ => return Err("a schema is an object or a boolean".to_owned()),
        };
        let mut making = Making { compiler: self, place, keywords, node: Node::default() };
        for (keyword, value) in keywords {
            making.take(keyword, value).map_err(|wrong| format!("{} {wrong}", truncate_text(keyword.clone(), 60)))?;
        }
        Ok(making.node)
    }

    /// Marks the nodes that are evaluated with the same value by several paths, or more than once by one.
    fn mark_shared(&self, nodes: &mut Nodes) {
        let met_again = self.places.values().filter(|(_, ways)| *ways > 1).map(|(place, _)| *place);
        let mut shared: Vec<NodeIndex> = met_again.collect();
        for node in &nodes.0 {
            shared.extend(node.object.iter().flat_map(|object| &object.also_with).map(|(_, place)| *place));
            let Some(in_place) = &node.in_place else { continue };
            shared.extend(in_place.any.iter().chain(&in_place.one).flat_map(|forms| &forms.all));
            shared.extend(in_place.condition.map(|condition| condition.holds));
        }
        for place in shared {
            if let Some(node) = nodes.0.get_mut(place) {
                node.shared = !node.is_simple();
            }
        }
    }

    fn rule(&mut self, keyword: &'static str, rule: &Value) -> Result<Arc<TextRule>, Wrong> {
        let key = (keyword, rule.to_string());
        if let Some(known) = self.rules.get(&key) {
            return Ok(known.clone());
        }
        let compiled = Arc::new(TextRule::compile(keyword, rule)?);
        self.rules.insert(key, compiled.clone());
        Ok(compiled)
    }
}

/// A node that is being built.
struct Making<'a, 'c> {
    compiler: &'c mut Compiler<'a>,
    place: NodeIndex,
    keywords: &'a Map<String, Value>,
    node: Node,
}

impl<'a> Making<'a, '_> {
    fn take(&mut self, keyword: &str, value: &'a Value) -> Result<(), Wrong> {
        match keyword {
            "type" => self.node.kinds = Some(kinds(value)?),
            "enum" => {
                let allowed = value.as_array().ok_or_else(not_a("a list"))?;
                self.node.literals.push(Literals::new(allowed, false));
            }
            "const" => self.node.literals.push(Literals::new([value], true)),
            "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum" | "multipleOf" => {
                self.take_number(keyword, value)?;
            }
            "minLength" | "maxLength" | "pattern" | "format" => self.take_text(keyword, value)?,
            "items" | "prefixItems" | "minItems" | "maxItems" | "uniqueItems" | "contains" => {
                self.take_list(keyword, value)?;
            }
            "$ref" | "allOf" | "anyOf" | "oneOf" | "not" | "if" => self.take_in_place(keyword, value)?,
            "unevaluatedItems" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor"
            | "$anchor" | "$id" | "$vocabulary" | "dependencies" | "additionalItems" => {
                return Err("is a keyword that payload schemas cannot have: describe the type without it".to_owned());
            }
            _ => self.take_object(keyword, value)?,
        }
        Ok(())
    }

    fn inner(&mut self, schema: &'a Value, way: String) -> NodeIndex {
        self.compiler.place_of(schema, self.place, way)
    }

    fn listed(&mut self, keyword: &str, value: &'a Value) -> Result<Vec<NodeIndex>, Wrong> {
        let schemas = value.as_array().ok_or_else(not_a("a list of schemas"))?;
        Ok((0..).zip(schemas).map(|(at, schema): (u32, _)| self.inner(schema, format!("/{keyword}/{at}"))).collect())
    }

    fn named(&mut self, keyword: &str, value: &'a Value) -> Result<Vec<(String, NodeIndex)>, Wrong> {
        let schemas = value.as_object().ok_or_else(not_a("an object of schemas"))?;
        let shown = |name: &str| truncate_text(name.to_owned(), 60);
        Ok(schemas
            .iter()
            .map(|(name, schema)| (name.clone(), self.inner(schema, format!("/{keyword}/{}", shown(name)))))
            .collect())
    }

    fn take_number(&mut self, keyword: &str, value: &Value) -> Result<(), Wrong> {
        let Value::Number(number) = value else { return Err("is not a number".to_owned()) };
        if keyword == "multipleOf" {
            let rule = self.compiler.rule("multipleOf", value)?;
            self.node.number.get_or_insert_default().multiple_of = Some(rule);
            return Ok(());
        }
        let rules = self.node.number.get_or_insert_default();
        let bound = match keyword {
            "minimum" => &mut rules.minimum,
            "exclusiveMinimum" => &mut rules.above,
            "maximum" => &mut rules.maximum,
            _ => &mut rules.below,
        };
        *bound = Some(Number::clone(number));
        Ok(())
    }

    fn take_text(&mut self, keyword: &str, value: &Value) -> Result<(), Wrong> {
        let rule = match keyword {
            "minLength" | "maxLength" => None,
            _ if !value.is_string() => return Err("is not a text".to_owned()),
            "pattern" => Some(self.compiler.rule("pattern", value)?),
            _ if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                Some(self.compiler.rule("format", value)?)
            }
            // Formats of numbers, and unknown formats, require nothing.
            _ => return Ok(()),
        };
        let rules = self.node.text.get_or_insert_default();
        match keyword {
            "minLength" => rules.shortest = Some(count(value)?),
            "maxLength" => rules.longest = Some(count(value)?),
            _ => rules.written.extend(rule),
        }
        Ok(())
    }

    fn take_list(&mut self, keyword: &str, value: &'a Value) -> Result<(), Wrong> {
        let bound = |keyword: &str| self.keywords.get(keyword).map(count).transpose();
        let (least, most) = (bound("minContains")?.unwrap_or(1), bound("maxContains")?);
        let (first, item) = match keyword {
            "prefixItems" => (self.listed(keyword, value)?, None),
            "items" | "contains" => (Vec::new(), Some(self.inner(value, format!("/{keyword}")))),
            _ => (Vec::new(), None),
        };
        let rules = self.node.list.get_or_insert_default();
        match keyword {
            "prefixItems" => rules.first = first,
            "items" => rules.items = item,
            "contains" => rules.contains = item.map(|item| Contains { item, least, most }),
            "minItems" => rules.least = Some(count(value)?),
            "maxItems" => rules.most = Some(count(value)?),
            _ => rules.unique = value.as_bool().ok_or_else(not_a("a boolean"))?,
        }
        Ok(())
    }

    fn take_object(&mut self, keyword: &str, value: &'a Value) -> Result<(), Wrong> {
        match keyword {
            "properties" => self.object().fields = self.named(keyword, value)?.into_iter().collect(),
            "patternProperties" => {
                let mut patterns = Vec::new();
                for (pattern, place) in self.named(keyword, value)? {
                    patterns.push((self.compiler.rule("pattern", &Value::from(pattern))?, place));
                }
                self.object().patterns = patterns;
            }
            "additionalProperties" => self.object().others = Some(self.inner(value, format!("/{keyword}"))),
            "unevaluatedProperties" => self.object().unevaluated = Some(self.inner(value, format!("/{keyword}"))),
            "propertyNames" => self.object().names = Some(self.inner(value, format!("/{keyword}"))),
            "required" => self.object().required = texts(value)?,
            "minProperties" => self.object().least = Some(count(value)?),
            "maxProperties" => self.object().most = Some(count(value)?),
            "dependentRequired" => {
                let lists = value.as_object().ok_or_else(not_a("an object of lists"))?;
                let lists = lists.iter().map(|(name, list)| Ok((name.clone(), texts(list)?)));
                self.object().required_with = lists.collect::<Result<_, Wrong>>()?;
            }
            "dependentSchemas" => self.object().also_with = self.named(keyword, value)?,
            // Any other keyword documents, or is unknown.
            _ => {}
        }
        Ok(())
    }

    fn object(&mut self) -> &mut ObjectRules {
        self.node.object.get_or_insert_default()
    }

    fn take_in_place(&mut self, keyword: &str, value: &'a Value) -> Result<(), Wrong> {
        match keyword {
            "$ref" => {
                let reference = value.as_str().ok_or_else(not_a("a text"))?;
                let target = resolve(self.compiler.root, reference).ok_or_else(not_a("a part of this schema"))?;
                let way = self.inner(target, format!("/$ref({})", truncate_text(reference.to_owned(), 60)));
                self.in_place().all.push(way);
            }
            "allOf" => {
                let all = self.listed(keyword, value)?;
                self.in_place().all.extend(all);
            }
            "anyOf" => self.in_place().any = Some(Forms::new(self.listed(keyword, value)?)),
            "oneOf" => self.in_place().one = Some(Forms::new(self.listed(keyword, value)?)),
            "not" => self.in_place().not = Some(self.inner(value, "/not".to_owned())),
            _ => {
                let mut part = |keyword: &str| {
                    let schema = self.keywords.get(keyword)?;
                    Some(self.compiler.place_of(schema, self.place, format!("/{keyword}")))
                };
                let (then, otherwise) = (part("then"), part("else"));
                let holds = self.inner(value, "/if".to_owned());
                self.in_place().condition = Some(Condition { holds, then, otherwise });
            }
        }
        Ok(())
    }

    fn in_place(&mut self) -> &mut InPlace {
        self.node.in_place.get_or_insert_default()
    }
}

fn kinds(value: &Value) -> Result<Kinds, Wrong> {
    let mut kinds = Kinds::default();
    let known = match value {
        Value::String(name) => kinds.add(name),
        Value::Array(names) => names.iter().all(|name| name.as_str().is_some_and(|name| kinds.add(name))),
        _ => false,
    };
    if known { Ok(kinds) } else { Err(format!("names something else than {}", Kinds::NAMES.join(", "))) }
}

/// Returns a count; schemas may write it as a float.
fn count(value: &Value) -> Result<u64, Wrong> {
    let whole = |float: f64| (float.fract() == 0.0 && (0.0..1e15).contains(&float)).then_some(float as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole)).ok_or_else(not_a("a number of things"))
}

fn texts(value: &Value) -> Result<Vec<String>, Wrong> {
    let texts = value.as_array().map(|texts| texts.iter().map(|text| text.as_str().map(str::to_owned)));
    texts.and_then(Iterator::collect).ok_or_else(not_a("a list of texts"))
}

fn index_forms(nodes: &mut Nodes) {
    for place in 0..nodes.0.len() {
        let Some(in_place) = &nodes.at(place).in_place else { continue };
        let index = |forms: &Option<Forms>| forms.as_ref().map(|forms| forms.indexed(nodes));
        let (any, one) = (index(&in_place.any), index(&in_place.one));
        if let Some(in_place) = nodes.0.get_mut(place).and_then(|node| node.in_place.as_mut()) {
            (in_place.any, in_place.one) = (any, one);
        }
    }
}
