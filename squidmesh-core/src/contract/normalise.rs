//! Normalises the schema of a type into the form that is stored, compared and fingerprinted.
//!
//! Knows which keywords of JSON Schema hold schemas. Must never change what a type accepts, except for refusing
//! fields that it does not have and integers that it cannot hold.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::pointer::definition;

/// Keywords that hold a schema, a list of schemas, or schemas by name.
const ONE: [&str; 11] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const LISTED: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// Keywords that document and do not affect validation. Documentation may change without making another version
/// of the workflow.
const EXPLAINING: [&str; 7] = ["$comment", "$schema", "deprecated", "description", "examples", "readOnly", "title"];

/// Returns the normal form of a schema. The result depends on what the type accepts, not on how its parts are
/// documented or in which order they are declared.
pub(super) fn normalise(mut schema: Value) -> Value {
    let mut composed = Composed { names: HashSet::new() };
    composed.find(&schema, schema.get("$defs"));
    visit(&mut schema, &mut |keywords| {
        explain_nothing(keywords);
        sort_names(keywords);
        limit_integers(keywords);
    });
    composed.close(&mut schema, false);
    schema
}

/// Visits a schema and every schema within it, the inner ones first. Schemas come from types, which nest no
/// deeper than the compiler allows.
fn visit(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(keywords) = schema else {
        return;
    };
    for (keyword, value) in keywords.iter_mut() {
        let keyword = keyword.as_str();
        match value {
            Value::Object(_) if ONE.contains(&keyword) => visit(value, change),
            Value::Object(named) if NAMED.contains(&keyword) => {
                named.values_mut().for_each(|inner| visit(inner, change))
            }
            Value::Array(listed) if LISTED.contains(&keyword) => {
                listed.iter_mut().for_each(|inner| visit(inner, change))
            }
            _ => {}
        }
    }
    change(keywords);
}

fn explain_nothing(keywords: &mut Map<String, Value>) {
    for keyword in EXPLAINING {
        keywords.remove(keyword);
    }
}

fn sort_names(keywords: &mut Map<String, Value>) {
    for keyword in ["required", "type"] {
        if let Some(Value::Array(names)) = keywords.get_mut(keyword) {
            names.sort_unstable_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
}

/// Adds the range of an integer type: without it, only the first step that reads the payload would refuse a
/// number that is too large.
fn limit_integers(keywords: &mut Map<String, Value>) {
    let Some(format) = keywords.get("format").and_then(Value::as_str) else {
        return;
    };
    let (least, greatest) = match format {
        "int8" => (json!(i8::MIN), json!(i8::MAX)),
        "int16" => (json!(i16::MIN), json!(i16::MAX)),
        "int32" => (json!(i32::MIN), json!(i32::MAX)),
        "int64" | "int" => (json!(i64::MIN), json!(i64::MAX)),
        "uint8" => (json!(u8::MIN), json!(u8::MAX)),
        "uint16" => (json!(u16::MIN), json!(u16::MAX)),
        "uint32" => (json!(u32::MIN), json!(u32::MAX)),
        "uint64" | "uint" => (json!(u64::MIN), json!(u64::MAX)),
        _ => return,
    };
    keywords.entry("minimum").or_insert(least);
    keywords.entry("maximum").or_insert(greatest);
}

/// Keywords that apply to the same value as the schema that contains them.
const IN_PLACE: [&str; 5] = ["$ref", "allOf", "anyOf", "oneOf", "properties"];

/// Returns whether several parts of a schema describe one object together, so that none of them knows all its
/// fields.
fn composes(keywords: &Map<String, Value>) -> bool {
    let parts = IN_PLACE.iter().filter(|keyword| keywords.contains_key(**keyword)).count();
    let all = keywords.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
    parts > 1 || all > 1
}

/// The definitions that somewhere describe only a part of an object.
struct Composed {
    names: HashSet<String>,
}

impl Composed {
    fn find(&mut self, schema: &Value, definitions: Option<&Value>) {
        let Value::Object(keywords) = schema else {
            return;
        };
        if composes(keywords) {
            self.mark(schema, definitions);
        }
        for (keyword, value) in keywords {
            let keyword = keyword.as_str();
            match value {
                Value::Object(_) if ONE.contains(&keyword) => self.find(value, definitions),
                Value::Object(named) if NAMED.contains(&keyword) => {
                    named.values().for_each(|inner| self.find(inner, definitions));
                }
                Value::Array(listed) if LISTED.contains(&keyword) => {
                    listed.iter().for_each(|inner| self.find(inner, definitions));
                }
                _ => {}
            }
        }
    }

    /// Marks every definition that takes part in a composition, directly or through others.
    fn mark(&mut self, schema: &Value, definitions: Option<&Value>) {
        if let Some(name) = reference(schema).and_then(definition)
            && self.names.insert(name.clone())
            && let Some(definition) = definitions.and_then(|definitions| definitions.get(&name))
        {
            self.mark(definition, definitions);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for inner in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.mark(inner, definitions);
            }
        }
    }

    /// Closes objects to unknown fields. `part` means that the schema describes only a part of its value.
    fn close(&self, schema: &mut Value, part: bool) {
        let Value::Object(keywords) = schema else {
            return;
        };
        let composes = composes(keywords);
        for (keyword, value) in keywords.iter_mut() {
            let keyword = keyword.as_str();
            match value {
                Value::Object(definitions) if matches!(keyword, "$defs" | "definitions") => {
                    definitions.iter_mut().for_each(|(name, inner)| self.close(inner, self.names.contains(name)));
                }
                Value::Object(named) if NAMED.contains(&keyword) => {
                    // A schema that depends on a field applies to the whole object again.
                    let part = keyword == "dependentSchemas";
                    named.values_mut().for_each(|inner| self.close(inner, part));
                }
                Value::Object(_) if ONE.contains(&keyword) => {
                    self.close(value, matches!(keyword, "if" | "then" | "else" | "not"));
                }
                Value::Array(listed) if keyword == "prefixItems" => {
                    listed.iter_mut().for_each(|inner| self.close(inner, false));
                }
                Value::Array(listed) if LISTED.contains(&keyword) => {
                    listed.iter_mut().for_each(|inner| self.close(inner, part || composes));
                }
                _ => {}
            }
        }
        let says = |keyword: &str| keywords.contains_key(keyword);
        if part || says("additionalProperties") || says("unevaluatedProperties") || !says("properties") {
            return;
        }
        let keyword = if composes { "unevaluatedProperties" } else { "additionalProperties" };
        keywords.insert(keyword.to_owned(), Value::Bool(false));
    }
}

/// Returns the reference of a schema.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()
}
