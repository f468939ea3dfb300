//! Completes a payload with what the schema of its type says about missing fields.
//!
//! Knows defaults and how integers are written; must never decide whether a payload fits. What comes out stays as it is when it
//! comes in again: a replay is given the payload that its run had.

use std::collections::HashMap;
use std::ptr;

use serde_json::{Map, Value};

use super::normalise::reference;
use crate::json::{JsonLimits, JsonViolation};

/// Gives an object the defaults of fields that it lacks, and so the objects within it, those of a default among them; writes
/// whole numbers as integers where the type wants integers, because `1.0` is one to a schema and none to a decoder.
///
/// # Errors
/// With its defaults the payload is beyond the limits, such as where a default brings another without end.
pub(super) fn complete(root: &Value, payload: &mut Value, limits: &JsonLimits) -> Result<(), JsonViolation> {
    while complete_within(vec![root], root, payload) {
        // What is too deep must not get to anyone who recurses.
        limits.check(payload)?;
    }
    Ok(())
}

/// Completes a value by all the schemas that apply to it, and what is within it by those that apply there: each value once, however
/// many ways lead to a schema. Goes no deeper than the payload, whose depth was checked: a default that was added here
/// is looked into by the next call. Whether defaults were added.
fn complete_within<'a>(schemas: Vec<&'a Value>, root: &'a Value, value: &mut Value) -> bool {
    let schemas = with_referred(schemas, root);
    match value {
        Value::Number(number) if number.is_f64() && schemas.iter().any(|schema| wants_integer(schema)) => {
            if let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() < WHOLE
            {
                *value = Value::from(float as i64);
            }
            false
        }
        Value::Object(members) => {
            let properties = || schemas.iter().filter_map(|schema| schema.get("properties")?.as_object()).flatten();
            let mut missing = Map::new();
            for (name, field) in properties().filter(|(name, _)| !members.contains_key(*name)) {
                if let (Some(default), false) = (field.get("default"), missing.contains_key(name)) {
                    missing.insert(name.clone(), default.clone());
                }
            }
            let mut fields: HashMap<&str, Vec<&Value>> = HashMap::new();
            properties().for_each(|(name, field)| fields.entry(name).or_default().push(field));
            let mut added = !missing.is_empty();
            for (name, member) in members.iter_mut() {
                if let Some(fields) = fields.remove(name.as_str()) {
                    added |= complete_within(fields, root, member);
                }
            }
            members.append(&mut missing);
            added
        }
        Value::Array(items) => {
            let of_items: Vec<&Value> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
            if of_items.is_empty() {
                return false;
            }
            let mut added = false;
            for item in items {
                added |= complete_within(of_items.clone(), root, item);
            }
            added
        }
        _ => false,
    }
}

/// Schemas and those that they refer to, each once, and before the one that refers to it: a type's own default comes before that
/// which is given where the type is used.
fn with_referred<'a>(schemas: Vec<&'a Value>, root: &'a Value) -> Vec<&'a Value> {
    let mut all: Vec<&Value> = Vec::with_capacity(schemas.len());
    for schema in schemas {
        let mut way: Vec<&Value> = Vec::new();
        let mut next = Some(schema);
        while let Some(schema) = next.filter(|schema| !all.iter().chain(&way).any(|known| ptr::eq(*known, *schema))) {
            way.push(schema);
            next = reference(schema).and_then(|name| root.get("$defs")?.get(name));
        }
        all.extend(way.into_iter().rev());
    }
    all
}

/// The magnitude below which every whole number has a float of its own.
const WHOLE: f64 = 9_007_199_254_740_992.0;

fn wants_integer(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == "integer",
        Some(Value::Array(names)) => {
            names.iter().any(|name| name == "integer") && !names.iter().any(|name| name == "number")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completed(schema: &Value, mut payload: Value) -> Result<Value, JsonViolation> {
        complete(schema, &mut payload, &JsonLimits::default()).map(|()| payload)
    }

    /// Of a type that has itself as the default of a field, each look adds one level and no more, until the limit is met.
    #[test]
    fn a_default_that_brings_another_without_end_is_refused() {
        let of_itself = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "properties": { "c": { "$ref": "#/$defs/a", "default": {} } } } } });
        let by_a_circle = json!({
            "$ref": "#/$defs/a",
            "$defs": { "a": { "$ref": "#/$defs/a", "properties": { "c": { "$ref": "#/$defs/a", "default": {} } } } },
        });
        let by_two = json!({
            "$ref": "#/$defs/b",
            "$defs": {
                "a": { "properties": { "c": { "default": {} } } },
                "b": { "$ref": "#/$defs/a", "properties": { "c": { "$ref": "#/$defs/b" } } },
            },
        });
        for schema in [of_itself, by_a_circle, by_two] {
            assert!(matches!(completed(&schema, json!({})), Err(JsonViolation::TooDeep { .. })), "{schema}");
        }
    }

    /// Two ways to each level would be more than the stars at sixty of them.
    #[test]
    fn a_deep_payload_is_gone_through_once_however_many_ways_lead_through_the_schema() {
        let schema = json!({
            "$ref": "#/$defs/a",
            "$defs": {
                "a": { "$ref": "#/$defs/b", "properties": { "c": { "$ref": "#/$defs/a" } } },
                "b": { "$ref": "#/$defs/a", "properties": { "c": { "$ref": "#/$defs/b" }, "n": { "type": "integer" } } },
            },
        });
        let deep = |bottom: Value| (0..60).fold(bottom, |inner, _| json!({ "c": inner }));
        assert_eq!(completed(&schema, deep(json!({ "n": 1.0 }))), Ok(deep(json!({ "n": 1 }))));
    }

    #[test]
    fn a_types_own_default_comes_before_that_of_its_use() {
        let schema = json!({
            "properties": { "of_type": { "$ref": "#/$defs/a", "default": { "x": 2 } } },
            "$ref": "#/$defs/whole",
            "$defs": {
                "a": { "properties": { "x": { "default": 1 }, "y": { "default": [1.0] } } },
                "whole": { "properties": { "of_type": { "default": {} }, "other": { "default": null } } },
            },
        });
        assert_eq!(completed(&schema, json!({})), Ok(json!({ "of_type": { "x": 1, "y": [1.0] }, "other": null })));
        assert_eq!(
            completed(&schema, json!({ "of_type": { "x": 3 }, "other": {} })),
            Ok(json!({ "of_type": { "x": 3, "y": [1.0] }, "other": {} }))
        );
    }
}
