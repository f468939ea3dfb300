//! Payloads that a Rust type describes, through its JSON Schema.
//!
//! Compiles a schema once (`compile`, `node`), evaluates payloads with it within a bound on the work
//! (`evaluate`), and explains why a payload does not fit (`explain`). Must never fetch a schema from anywhere or
//! show a value.

mod compile;
mod evaluate;
mod explain;
mod form_index;
mod forms;
mod kinds;
mod literal;
mod node;
#[cfg(test)]
mod tests;
mod text_rule;
mod ways;

use std::fmt;
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use self::compile::compile;
use self::evaluate::{Evaluation, TooMuch};
use self::explain::explain;
use self::node::Nodes;
use super::complete::complete;
use super::field::FieldKind;
use super::normalise::normalise;
use super::problem::{PayloadErrors, PayloadProblem, Problems};
use crate::json::JsonLimits;

/// The schema of a payload type, in a normal form with only what a payload must be: without titles and
/// descriptions, closed to unknown fields, and with the ranges of integer types.
#[derive(Clone)]
pub struct PayloadSchema {
    schema: Value,
    nodes: OnceLock<Result<Arc<Nodes>, String>>,
}

impl PayloadSchema {
    /// Returns the schema of a type.
    pub fn of<T: JsonSchema>() -> Self {
        let generator = SchemaSettings::draft2020_12().into_generator();
        Self::from_normal(normalise(generator.into_root_schema_for::<T>().to_value()))
    }

    fn from_normal(schema: Value) -> Self {
        Self { schema, nodes: OnceLock::new() }
    }

    /// Returns the schema as JSON (draft 2020-12).
    pub fn as_json(&self) -> &Value {
        &self.schema
    }

    /// Compiles the schema, once.
    ///
    /// # Errors
    /// Returns why the schema does not compile.
    pub(crate) fn compile(&self) -> Result<(), &str> {
        self.nodes().map(|_| ())
    }

    fn nodes(&self) -> Result<&Nodes, &str> {
        let compiled = self.nodes.get_or_init(|| compile(&self.schema).map(Arc::new));
        compiled.as_deref().map_err(String::as_str)
    }

    /// Returns whether an object can fit the schema at all.
    pub(crate) fn takes_objects(&self) -> bool {
        match self.schema.get("type") {
            Some(Value::String(kind)) => kind == "object",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            Some(_) => false,
            None => self.schema != Value::Bool(false),
        }
    }

    /// Returns the names of all fields, if the schema is a plain object that lists them and allows no others.
    pub(super) fn field_names(&self) -> Option<Vec<&str>> {
        let keywords = self.schema.as_object()?;
        let is_plain = keywords.keys().all(|keyword| PLAIN.contains(&keyword.as_str()));
        let is_closed = keywords.get("additionalProperties") == Some(&Value::Bool(false));
        let properties = keywords.get("properties").and_then(Value::as_object);
        properties.filter(|_| is_plain && is_closed).map(|properties| properties.keys().map(String::as_str).collect())
    }

    /// Returns the top-level fields of known type.
    pub(super) fn field_kinds(&self) -> Vec<(String, FieldKind)> {
        let Some(Value::Object(properties)) = self.schema.get("properties") else {
            return Vec::new();
        };
        properties.iter().filter_map(|(name, schema)| Some((name.clone(), field_kind(schema)?))).collect()
    }

    pub(super) fn resolve(
        &self,
        payload: Map<String, Value>,
        limits: &JsonLimits,
    ) -> Result<Map<String, Value>, PayloadErrors> {
        let nodes = self.nodes().map_err(|reason| {
            // A validated definition has only schemas that compile.
            PayloadErrors::only(PayloadProblem::Rule { rule: format!("has a schema that is broken: {reason}") })
        })?;
        let mut payload = Value::Object(payload);
        complete(&self.schema, &mut payload, limits).map_err(PayloadErrors::only)?;
        let bytes = limits.measure(&payload).map_err(|why| PayloadErrors::only(PayloadProblem::Json(why)))?;
        let too_much = |TooMuch| PayloadErrors::only(PayloadProblem::TooComplex);
        let problems = match Evaluation::new(nodes, bytes).fits(0, &payload).map_err(too_much)? {
            true => Problems::default(),
            false => explain(nodes, &payload, bytes).map_err(too_much)?,
        };
        match payload {
            Value::Object(payload) => problems.or(payload),
            _ => problems.or(Map::new()),
        }
    }
}

/// The keywords of a schema that lists the fields of an object.
const PLAIN: [&str; 6] = ["$defs", "additionalProperties", "default", "properties", "required", "type"];

fn field_kind(schema: &Value) -> Option<FieldKind> {
    let name = match schema.get("type")? {
        Value::String(name) => name,
        // An optional field is of its kind or null.
        Value::Array(names) => match names.iter().filter(|name| *name != "null").collect::<Vec<_>>().as_slice() {
            [Value::String(name)] => name,
            _ => return None,
        },
        _ => return None,
    };
    Some(match name.as_str() {
        "string" => FieldKind::String,
        "integer" => FieldKind::Integer,
        "number" => FieldKind::Float,
        "boolean" => FieldKind::Boolean,
        "object" => FieldKind::Map,
        "array" => FieldKind::List,
        _ => return None,
    })
}

impl PartialEq for PayloadSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for PayloadSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadSchema").field(&self.schema).finish()
    }
}

impl Serialize for PayloadSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.schema.serialize(serializer)
    }
}

/// Takes a stored schema as it is, so that it keeps its fingerprint. Whether it compiles is checked with the
/// definition.
impl<'de> Deserialize<'de> for PayloadSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_normal)
    }
}
