//! Declared payload fields.
//!
//! Knows kinds, defaults and how a field is checked; must never know the trigger that it belongs to.

use std::collections::HashSet;
use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::problem::{PayloadErrors, PayloadProblem, Problems, kind};
use crate::json::{Segment, path, to_value};

/// A declared field of a payload. It is required, unless it has a default or is optional.
///
/// ```
/// use squidmesh_core::{Field, Trigger};
///
/// let trigger = Trigger::manual("place_order")
///     .field(Field::string("order_id"))
///     .field(Field::integer("copies").default(1))
///     .field(Field::string("day").default_today())
///     .field(Field::string("note").optional());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    name: String,
    kind: FieldKind,
    #[serde(default, skip_serializing_if = "Presence::is_required")]
    presence: Presence,
}

/// What happens when a field is missing from the payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Presence {
    /// The payload is refused.
    #[default]
    Required,
    /// The field stays absent.
    Optional,
    /// The field is set to this value.
    Default(Value),
    /// The field is set to the date on which the run starts.
    Today,
    /// The given default cannot be represented as JSON; never valid.
    Unrepresentable,
}

impl Presence {
    fn is_required(&self) -> bool {
        matches!(self, Self::Required)
    }
}

/// The kind of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// A string.
    String,
    /// A whole number of at most 64 bits.
    Integer,
    /// Any number.
    Float,
    /// A boolean.
    Boolean,
    /// An object with any content.
    Map,
    /// A list with any content.
    List,
}

impl FieldKind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Float => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Map => value.is_object(),
            Self::List => value.is_array(),
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Boolean => "a boolean",
            Self::Map => "an object",
            Self::List => "a list",
        })
    }
}

impl Field {
    /// Declares a required string.
    pub fn string(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::String)
    }

    /// Declares a required whole number of at most 64 bits.
    pub fn integer(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::Integer)
    }

    /// Declares a required number; whole numbers are numbers too.
    pub fn float(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::Float)
    }

    /// Declares a required boolean.
    pub fn boolean(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::Boolean)
    }

    /// Declares a required object with any content.
    pub fn map(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::Map)
    }

    /// Declares a required list with any content.
    pub fn list(name: impl AsRef<str>) -> Self {
        Self::required(name, FieldKind::List)
    }

    fn required(name: impl AsRef<str>, kind: FieldKind) -> Self {
        Self { name: name.as_ref().to_owned(), kind, presence: Presence::Required }
    }

    /// Sets the value to use when the field is missing. A value that does not fit the kind is refused when the
    /// workflow is built.
    pub fn default(mut self, value: impl Serialize) -> Self {
        self.presence = to_value(&value).map_or(Presence::Unrepresentable, Presence::Default);
        self
    }

    /// Uses the date on which the run starts, as in `2026-03-01`, when the field is missing. Only for strings.
    pub fn default_today(mut self) -> Self {
        self.presence = Presence::Today;
        self
    }

    /// Allows the field to be missing; null counts as missing.
    pub fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Returns the key of the field in the payload.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of the field.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Returns whether the field would accept its default. Without a default, it returns `true`.
    pub(crate) fn default_fits(&self) -> bool {
        match &self.presence {
            Presence::Required | Presence::Optional => true,
            Presence::Default(value) => self.kind.fits(value),
            Presence::Today => self.kind == FieldKind::String,
            Presence::Unrepresentable => false,
        }
    }
}

/// Checks a payload against declared fields, and completes it.
pub(super) fn resolve(
    fields: &[Field],
    mut payload: Map<String, Value>,
    today: Date,
) -> Result<Map<String, Value>, PayloadErrors> {
    let mut problems = Problems::default();
    for field in fields {
        let at = || path([Segment::Key(&field.name)].into_iter());
        match payload.get(&field.name) {
            Some(Value::Null) if field.presence == Presence::Optional => {
                payload.remove(&field.name);
            }
            Some(value) if field.kind.fits(value) => {}
            Some(value) => {
                problems.push(at(), PayloadProblem::WrongType { expected: field.kind.to_string(), found: kind(value) });
            }
            None => match &field.presence {
                Presence::Optional => {}
                Presence::Default(value) => {
                    payload.insert(field.name.clone(), value.clone());
                }
                Presence::Today => {
                    payload.insert(field.name.clone(), Value::from(today.to_string()));
                }
                Presence::Required | Presence::Unrepresentable => problems.push(at(), PayloadProblem::Missing),
            },
        }
    }
    let declared: HashSet<_> = fields.iter().map(|field| field.name.as_str()).collect();
    for key in payload.keys().filter(|key| !declared.contains(key.as_str())) {
        problems.push(path([Segment::Key(key)].into_iter()), PayloadProblem::Unknown);
    }
    problems.or(payload)
}
