//! Completes a payload with what the schema of its type says about missing fields.
//!
//! Knows defaults and how integers are written; must never decide whether a payload fits. What comes out stays as it is when it
//! comes in again: a replay is given the payload that its run had.

use serde_json::Value;

use super::normalise::reference;
use crate::json::{JsonLimits, JsonViolation};

/// Gives an object the defaults of fields that it lacks, and so the objects within it, those of a default among them; writes
/// whole numbers as integers where the type wants integers, because `1.0` is one to a schema and none to a decoder.
///
/// # Errors
/// With its defaults the payload is beyond the limits, such as where a default brings another without end.
pub(super) fn complete(root: &Value, payload: &mut Value, limits: &JsonLimits) -> Result<(), JsonViolation> {
    while complete_within(root, root, payload, 0) {
        // What is too deep must not get to anyone who recurses.
        limits.check(payload)?;
    }
    Ok(())
}

/// How many references may follow one another; a type is not behind more of them.
const REFERENCES: usize = 16;

/// Goes no deeper than the payload, whose depth was checked. Whether defaults were added.
fn complete_within(schema: &Value, root: &Value, value: &mut Value, references: usize) -> bool {
    let mut added = false;
    if let Some(name) = reference(schema)
        && references < REFERENCES
        && let Some(definition) = root.get("$defs").and_then(|definitions| definitions.get(name))
    {
        added |= complete_within(definition, root, value, references + 1);
    }
    match value {
        Value::Number(number) if number.is_f64() && wants_integer(schema) => {
            if let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() < WHOLE
            {
                *value = Value::from(float as i64);
            }
        }
        Value::Object(members) => {
            for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                match (members.get_mut(name), field.get("default")) {
                    (Some(member), _) => added |= complete_within(field, root, member, 0),
                    (None, Some(default)) => {
                        members.insert(name.clone(), default.clone());
                        added = true;
                    }
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    added |= complete_within(schema, root, item, 0);
                }
            }
        }
        _ => {}
    }
    added
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
