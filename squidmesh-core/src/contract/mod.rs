//! Payload contracts: what a trigger accepts, checked in full before anything is stored.
//!
//! Knows fields, schemas and defaults; must never know who sends a payload or what becomes of it. No error of this module
//! shows a value.

mod complete;
mod field;
mod normalise;
mod problem;
mod schema;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::field::{Field, FieldKind};
pub use self::problem::{PayloadError, PayloadErrors, PayloadProblem};
pub use self::schema::PayloadSchema;

use crate::json::JsonLimits;

/// Which payload a trigger takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Contract {
    /// None: only an empty object, or null for it.
    #[default]
    Nothing,
    /// What a Rust type describes.
    Schema(PayloadSchema),
    /// These fields and no others.
    Fields(Vec<Field>),
}

impl Contract {
    /// Checks a payload and completes it with the defaults of what is missing; `today` is the date that stands for
    /// "the current date". Null counts as an empty object. The limits hold with the defaults as without them. A payload that was
    /// completed once is accepted again as it is.
    ///
    /// # Errors
    /// Every missing, unknown and wrongly typed field at once, each with its path and none with its value. When a payload is
    /// beyond the limits or not an object, that alone is reported.
    pub fn resolve(
        &self,
        payload: Value,
        today: Date,
        limits: &JsonLimits,
    ) -> Result<Map<String, Value>, PayloadErrors> {
        let beyond = |violation| PayloadErrors::only(PayloadProblem::Json(violation));
        // Whoever checks a value against a schema recurses: nothing deeper than the limit may get that far.
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
        limits.check_object(&completed).map_err(beyond)?;
        Ok(completed)
    }

    /// Whether no payload is taken at all.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The fields at the top level whose type is known, for comparing triggers.
    pub(crate) fn field_kinds(&self) -> Vec<(String, FieldKind)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Fields(fields) => fields.iter().map(|field| (field.name().to_owned(), field.kind())).collect(),
            Self::Schema(schema) => schema.field_kinds(),
        }
    }
}
