//! The reason why a value does not fit a type: the path and what was expected there, and of the value only its
//! kind.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::text::{OwnedSegment, Segment, path, path_outwards};

/// The reason why a value does not fit a type.
#[derive(Debug)]
pub(crate) struct DecodeFailure {
    problem: String,
    /// The path, from the inside out.
    segments: Vec<OwnedSegment>,
}

impl DecodeFailure {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), segments: Vec::new() }
    }

    pub(super) fn within(mut self, segment: OwnedSegment) -> Self {
        self.segments.push(segment);
        self
    }
}

impl Display for DecodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", path_outwards(&self.segments), self.problem)
    }
}

impl std::error::Error for DecodeFailure {}

/// Returns the kind of the value that was found, without the value itself.
fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq | Unexpected::TupleVariant => "a list",
        Unexpected::Map | Unexpected::StructVariant => "an object",
        _ => "something else",
    }
}

impl de::Error for DecodeFailure {
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
