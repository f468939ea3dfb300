//! Completes a payload with the defaults of missing fields, as the schema of its type declares them.
//!
//! Knows defaults and how integers are written; must never decide whether a payload fits. A completed payload
//! stays the same when it is completed again: a replay receives the payload of its run.

use std::collections::HashSet;
use std::ptr;

use serde_json::{Map, Value};

use super::normalise::reference;
use super::pointer::resolve;
use super::problem::PayloadProblem;
use crate::json::{JsonLimits, JsonViolation};

/// Adds the defaults of missing fields to an object and to the objects within it, those of an added default
/// included. Writes whole numbers as integers where the type wants integers, because a schema accepts `1.0` as an
/// integer and a decoder does not.
///
/// # Errors
/// Returns an error if the payload with its defaults is beyond the limits, for example if a default adds another
/// without end; or if completing it takes more work than a payload of its size may.
pub(super) fn complete(root: &Value, payload: &mut Value, limits: &JsonLimits) -> Result<(), PayloadProblem> {
    let mut bytes = limits.measure(payload).map_err(PayloadProblem::Json)?;
    let mut completion = Completion { root, limits, bytes, work: work(bytes) };
    while completion.within(vec![root], payload)? {
        // Some callers recurse: a value that is too deep must not reach them.
        bytes = limits.measure(payload).map_err(PayloadProblem::Json)?;
        completion.bytes = bytes;
        completion.work = completion.work.min(work(bytes));
    }
    Ok(())
}

/// Returns the number of schemas that may be visited for a payload of this size.
fn work(bytes: usize) -> usize {
    bytes.saturating_mul(16).saturating_add(1 << 20)
}

struct Completion<'a> {
    root: &'a Value,
    limits: &'a JsonLimits,
    /// The size of the payload with the defaults that were added.
    bytes: usize,
    /// The number of schemas that may still be visited.
    work: usize,
}

impl<'a> Completion<'a> {
    /// Completes a value by all the schemas that apply to it, and the values within it by those that apply there:
    /// each value once, however many paths lead to a schema. Goes no deeper than the payload, whose depth was
    /// checked: a default that is added here is visited by the next call. Returns whether defaults were added.
    fn within(&mut self, schemas: Vec<&'a Value>, value: &mut Value) -> Result<bool, PayloadProblem> {
        let schemas = self.with_referred(schemas)?;
        match value {
            Value::Number(number) if number.is_f64() && schemas.iter().any(|schema| wants_integer(schema)) => {
                if let Some(float) = number.as_f64()
                    && float.fract() == 0.0
                    && float.abs() < WHOLE
                {
                    *value = Value::from(float as i64);
                }
                Ok(false)
            }
            Value::Object(members) => {
                let mut added = self.missing(&schemas, members)?;
                let mut any_added = !added.is_empty();
                self.spend(members.len().saturating_mul(schemas.len()))?;
                for (name, member) in members.iter_mut() {
                    let fields = schemas.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect();
                    any_added |= self.within(fields, member)?;
                }
                members.append(&mut added);
                Ok(any_added)
            }
            Value::Array(items) => {
                let of_items: Vec<&Value> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
                if of_items.is_empty() {
                    return Ok(false);
                }
                let mut added = false;
                for item in items {
                    added |= self.within(of_items.clone(), item)?;
                }
                Ok(added)
            }
            _ => Ok(false),
        }
    }

    /// Returns the defaults of the fields that an object lacks.
    fn missing(
        &mut self,
        schemas: &[&'a Value],
        members: &Map<String, Value>,
    ) -> Result<Map<String, Value>, PayloadProblem> {
        let mut missing = Map::new();
        for properties in schemas.iter().filter_map(|schema| schema.get("properties")?.as_object()) {
            self.spend(properties.len())?;
            for (name, field) in properties.iter().filter(|(name, _)| !members.contains_key(*name)) {
                if let (Some(default), false) = (field.get("default"), missing.contains_key(name)) {
                    self.make_room(name, default)?;
                    missing.insert(name.clone(), default.clone());
                }
            }
        }
        Ok(missing)
    }

    /// Counts the size of a default before it is added: the defaults of a short payload may be as large as memory.
    fn make_room(&mut self, name: &str, default: &Value) -> Result<(), PayloadProblem> {
        let room = JsonLimits { max_bytes: self.limits.max_bytes.saturating_sub(self.bytes), ..*self.limits };
        let beyond = |_| PayloadProblem::Json(JsonViolation::TooLarge { max_bytes: self.limits.max_bytes });
        let default = room.measure(default).map_err(beyond)?;
        self.bytes = self.bytes.saturating_add(default).saturating_add(name.len());
        Ok(())
    }

    /// Returns the schemas and those that they refer to, each once, and before the one that refers to it: a
    /// type's own default comes before the default that is given where the type is used.
    fn with_referred(&mut self, schemas: Vec<&'a Value>) -> Result<Vec<&'a Value>, PayloadProblem> {
        let mut all: Vec<&Value> = Vec::with_capacity(schemas.len());
        // Usually there is only one, which a linear search finds fastest.
        let mut known: HashSet<*const Value> = HashSet::new();
        let mut is_known = |all: &[&Value], schema: &Value| match all.len() {
            0..FEW => all.iter().any(|known| ptr::eq(*known, schema)),
            _ => {
                if known.is_empty() {
                    known.extend(all.iter().map(|known| ptr::from_ref(*known)));
                }
                !known.insert(ptr::from_ref(schema))
            }
        };
        for schema in schemas {
            let begun = all.len();
            let mut next = Some(schema);
            while let Some(schema) = next.filter(|schema| !is_known(&all, schema)) {
                all.push(schema);
                next = reference(schema).and_then(|reference| resolve(self.root, reference));
            }
            all.get_mut(begun..).into_iter().for_each(<[_]>::reverse);
        }
        self.spend(all.len())?;
        Ok(all)
    }

    fn spend(&mut self, work: usize) -> Result<(), PayloadProblem> {
        self.work = self.work.checked_sub(work).ok_or(PayloadProblem::TooComplex)?;
        Ok(())
    }
}

/// The number of schemas up to which a linear search is used.
const FEW: usize = 16;

/// The magnitude below which every whole number has its own float.
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

    fn completed(schema: &Value, mut payload: Value) -> Result<Value, PayloadProblem> {
        complete(schema, &mut payload, &JsonLimits::default()).map(|()| payload)
    }

    /// Of a type that has itself as the default of a field, each pass adds one level and no more, until the limit
    /// is reached.
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
            let refused = completed(&schema, json!({}));
            assert!(matches!(refused, Err(PayloadProblem::Json(JsonViolation::TooDeep { .. }))), "{schema}");
        }
    }

    /// With two paths to each of sixty levels, visiting every path would take 2^60 visits.
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
