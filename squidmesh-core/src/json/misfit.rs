//! The reason why a value does not fit a type: the path and what was expected there, and of the value only its
//! kind.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::text::{Segment, path, segments};

/// The reason why a value does not fit a type, with its path.
#[derive(Debug)]
pub(crate) struct DecodeFailure(pub(super) serde_path_to_error::Error<Misfit>);

impl Display for DecodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", path(segments(self.0.path().iter())), self.0.inner())
    }
}

impl std::error::Error for DecodeFailure {}

/// The reason why a value does not fit a type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(String);

impl Misfit {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Returns the kind of the value that was found, without the value itself.
fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::UnitVariant => "the name of a variant",
        Unexpected::Seq | Unexpected::TupleVariant => "a list",
        Unexpected::Map | Unexpected::StructVariant => "an object",
        _ => "something else",
    }
}

impl de::Error for Misfit {
    /// Drops the type's own message, because it may quote the value.
    fn custom<T: Display>(_: T) -> Self {
        Self::new("the value is refused by its type")
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", kind(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {} with another value", kind(&unexpected)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {length} elements"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let field = path([Segment::Key(field)].into_iter());
        Self::new(format!("unknown field {field}, expected one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the field {field} is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("the field {field} comes twice"))
    }
}
