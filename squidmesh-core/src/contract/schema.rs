//! Payloads that are described by a Rust type, through its JSON Schema.
//!
//! Knows how to compile a schema once and how to say what it objects to; must never fetch a schema from anywhere or show a
//! value.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, ValidationError, Validator};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::complete::complete;
use super::field::FieldKind;
use super::normalise::normalise;
use super::problem::{PayloadErrors, PayloadProblem, Problems, kind};
use crate::json::{JsonLimits, Segment, path};

/// The schema of a payload type, in a normal form that says only what a payload must be: no titles and descriptions, closed
/// to unknown fields, and with the ranges of integer types.
#[derive(Clone)]
pub struct PayloadSchema {
    schema: Value,
    validator: OnceLock<Result<Arc<Validator>, String>>,
}

impl PayloadSchema {
    /// The schema of a type.
    pub fn of<T: JsonSchema>() -> Self {
        let generator = SchemaSettings::draft2020_12().into_generator();
        Self::from_normal(normalise(generator.into_root_schema_for::<T>().to_value()))
    }

    fn from_normal(schema: Value) -> Self {
        Self { schema, validator: OnceLock::new() }
    }

    /// The schema as JSON (draft 2020-12).
    pub fn as_json(&self) -> &Value {
        &self.schema
    }

    /// Compiles the schema, once.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub(crate) fn compile(&self) -> Result<&Validator, &str> {
        let compiled = self.validator.get_or_init(|| {
            jsonschema::options()
                // Payloads come from outside: patterns must be matched in linear time.
                .with_pattern_options(PatternOptions::regex())
                .with_draft(jsonschema::Draft::Draft202012)
                .should_validate_formats(true)
                .build(&self.schema)
                .map(Arc::new)
                .map_err(|error| format!("{error} (in the schema at {})", error.schema_path()))
        });
        match compiled {
            Ok(validator) => Ok(validator),
            Err(reason) => Err(reason),
        }
    }

    /// Whether an object can fit the schema at all.
    pub(crate) fn takes_objects(&self) -> bool {
        match self.schema.get("type") {
            Some(Value::String(kind)) => kind == "object",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            Some(_) => false,
            None => self.schema != Value::Bool(false),
        }
    }

    /// The fields at the top level whose type is known.
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
        let validator = match self.compile() {
            Ok(validator) => validator,
            // A validated definition has only schemas that compile.
            Err(reason) => {
                return Err(PayloadErrors::only(PayloadProblem::Rule {
                    rule: format!("has a schema that is broken: {reason}"),
                }));
            }
        };
        let mut payload = Value::Object(payload);
        complete(&self.schema, &mut payload, limits)
            .map_err(|violation| PayloadErrors::only(PayloadProblem::Json(violation)))?;
        let mut problems = Problems::default();
        let errors: Vec<_> = validator.iter_errors(&payload).take(Problems::REPORTED + 1).collect();
        report(&errors, &mut problems);
        drop(errors);
        match payload {
            Value::Object(payload) => problems.or(payload),
            _ => problems.or(Map::new()),
        }
    }
}

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

fn report(errors: &[ValidationError<'_>], problems: &mut Problems) {
    // Where several schemas describe one object, a fault in one of them makes every field look unknown.
    let all_leftover = errors.iter().all(is_leftover);
    for error in errors.iter().filter(|error| all_leftover || !is_leftover(error)) {
        report_one(error, problems);
    }
}

fn is_leftover(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::UnevaluatedProperties { .. })
}

fn report_one(error: &ValidationError<'_>, problems: &mut Problems) {
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            problems.push(place(error, property.as_str()), PayloadProblem::Missing)
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for field in unexpected {
                problems.push(place(error, Some(field)), PayloadProblem::Unknown);
            }
        }
        ValidationErrorKind::Type { kind: expected } => {
            let expected = match expected {
                TypeKind::Single(expected) => named(&expected.to_string()).to_owned(),
                TypeKind::Multiple(several) => several
                    .iter()
                    .map(|expected| named(&expected.to_string()).to_owned())
                    .collect::<Vec<_>>()
                    .join(" or "),
            };
            problems.push(place(error, None), PayloadProblem::WrongType { expected, found: kind(error.instance()) });
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            match meant(error, context) {
                Some(errors) => report(errors, problems),
                None => problems.push(place(error, None), PayloadProblem::Rule { rule: rule(error.kind()) }),
            }
        }
        other => problems.push(place(error, None), PayloadProblem::Rule { rule: rule(other) }),
    }
}

/// The one form that a value was meant to have, if all others are of another type altogether: an optional object is either
/// null or an object, and what is wrong with the object is of interest.
fn meant<'a>(
    error: &ValidationError<'_>,
    forms: &'a [Vec<ValidationError<'static>>],
) -> Option<&'a [ValidationError<'static>]> {
    let of_another_type = |errors: &[ValidationError<'_>]| {
        errors.iter().any(|inner| {
            let depth = |error: &ValidationError<'_>| error.instance_path().iter().count();
            matches!(inner.kind(), ValidationErrorKind::Type { .. }) && depth(inner) == depth(error)
        })
    };
    let mut meant = forms.iter().filter(|errors| !of_another_type(errors));
    match (meant.next(), meant.next()) {
        (Some(errors), None) if !errors.is_empty() => Some(errors),
        _ => None,
    }
}

/// The place of an error, or of a field there.
fn place(error: &ValidationError<'_>, field: Option<&str>) -> String {
    let segments: Vec<_> = error.instance_path().iter().collect();
    let segments = segments.iter().map(|segment| match segment {
        LocationSegment::Property(key) => Segment::Key(key),
        LocationSegment::Index(index) => Segment::Index(*index),
    });
    path(segments.chain(field.map(Segment::Key)))
}

fn named(schema_type: &str) -> &str {
    match schema_type {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "a boolean",
        "object" => "an object",
        "array" => "a list",
        other => other,
    }
}

/// The rule that a value breaks, as the end of a sentence. Limits come from the schema; the value is never part of it.
fn rule(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            format!("must be a multiple of {multiple_of}")
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("must have at least {limit} characters")
        }
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} elements"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} elements"),
        ValidationErrorKind::MinProperties { limit } => {
            format!("must have at least {limit} fields")
        }
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        ValidationErrorKind::UniqueItems => "must not have an element twice".to_owned(),
        ValidationErrorKind::Enum { .. } => "must be one of the allowed values".to_owned(),
        ValidationErrorKind::Constant { .. } => "must be the one allowed value".to_owned(),
        ValidationErrorKind::Pattern { pattern } => format!("must match the pattern {pattern}"),
        ValidationErrorKind::Format { format } => format!("must be written as {format}"),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            "fits none of the allowed forms".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => "fits more than one of the allowed forms".to_owned(),
        other => format!("breaks the rule \"{}\" of its type", other.keyword()),
    }
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

/// A stored schema is taken as it is, so that it keeps its fingerprint; whether it compiles is checked with the definition.
impl<'de> Deserialize<'de> for PayloadSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_normal)
    }
}
