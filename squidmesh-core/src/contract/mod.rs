//! Payload contracts: what a trigger accepts, checked in full before anything is stored.
//!
//! Knows fields, schemas and defaults; must never know who sends a payload or how it is used. No error of this
//! module shows a value.

mod complete;
mod field;
mod normalise;
mod pointer;
mod problem;
mod schema;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::field::{Field, FieldKind};
pub use self::problem::{PayloadError, PayloadErrors, PayloadProblem};
pub use self::schema::PayloadSchema;

use crate::json::JsonLimits;

/// The contract of a trigger's payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Contract {
    /// No payload: only an empty object, or null in its place.
    #[default]
    Nothing,
    /// A payload as a Rust type describes it.
    Schema(PayloadSchema),
    /// A payload with these fields and no others.
    Fields(Vec<Field>),
}

impl Contract {
    /// Checks a payload and completes it with defaults; `today` is the date that is used for fields that default
    /// to the current date. Null counts as an empty object. The limits apply with the defaults as without them. A
    /// payload that was completed once is accepted again unchanged.
    ///
    /// # Errors
    /// Returns every missing, unknown and wrongly typed field at once, each with its path and none with its
    /// value. If a payload is beyond the limits or not an object, only that is reported.
    pub fn resolve(
        &self,
        payload: Value,
        today: Date,
        limits: &JsonLimits,
    ) -> Result<Map<String, Value>, PayloadErrors> {
        let beyond = |violation| PayloadErrors::only(PayloadProblem::Json(violation));
        // Checking a value against a schema recurses: a value deeper than the limit must not get that far.
        limits.check(&payload).map_err(beyond)?;
        let payload = match payload {
            Value::Null => Map::new(),
            Value::Object(payload) => payload,
            other => {
                let found = problem::kind(&other);
                return Err(PayloadErrors::only(PayloadProblem::WrongType { expected: "an object".to_owned(), found }));
            }
        };
        let completed = match self {
            Self::Nothing => field::resolve(&[], payload, today)?,
            Self::Fields(fields) => field::resolve(fields, payload, today)?,
            Self::Schema(schema) => schema.resolve(payload, limits)?,
        };
        limits.measure_object(&completed).map_err(beyond)?;
        Ok(completed)
    }

    /// Returns whether no payload is accepted at all.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Returns the names of all fields that a payload can have; `None` if it may have others, or if they are not known.
    pub(crate) fn field_names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Nothing => Some(Vec::new()),
            Self::Fields(fields) => Some(fields.iter().map(Field::name).collect()),
            Self::Schema(schema) => schema.field_names(),
        }
    }

    /// Returns the top-level fields of known type, for comparing triggers.
    pub(crate) fn field_kinds(&self) -> Vec<(String, FieldKind)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Fields(fields) => fields.iter().map(|field| (field.name().to_owned(), field.kind())).collect(),
            Self::Schema(schema) => schema.field_kinds(),
        }
    }
}
