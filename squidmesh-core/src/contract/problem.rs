//! The errors of payloads.
//!
//! They hold paths, rules and kinds only; must never hold a value.

use std::fmt;

use serde_json::Value;

use crate::json::JsonViolation;

/// All errors of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadErrors(Vec<PayloadError>);

impl PayloadErrors {
    /// Creates one error for the payload as a whole.
    pub(super) fn only(problem: PayloadProblem) -> Self {
        Self(vec![PayloadError { path: "the payload".to_owned(), problem }])
    }

    /// Returns an iterator over the errors. There is at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, PayloadError> {
        self.0.iter()
    }

    /// Returns the violation that keeps the payload from being stored at all, if there is one.
    pub fn violation(&self) -> Option<&JsonViolation> {
        self.0.iter().find_map(|error| match &error.problem {
            PayloadProblem::Json(violation) => Some(violation),
            _ => None,
        })
    }

    /// Returns the number of errors. It is never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a PayloadErrors {
    type Item = &'a PayloadError;
    type IntoIter = std::slice::Iter<'a, PayloadError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for PayloadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload does not fit: ")?;
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PayloadErrors {}

/// One error of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
#[non_exhaustive]
pub struct PayloadError {
    /// The path of the value, such as `order.items[2].price`.
    pub path: String,
    /// The problem at that path.
    pub problem: PayloadProblem,
}

/// A problem at one path of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadProblem {
    /// A required field is missing.
    #[error("is missing")]
    Missing,
    /// A field is present that is not declared.
    #[error("is not a field of this payload")]
    Unknown,
    /// The value is not of the declared kind.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// The declared kind.
        expected: String,
        /// The actual kind.
        found: &'static str,
    },
    /// The value is of the declared kind but breaks another rule of its type.
    #[error("{rule}")]
    Rule {
        /// The rule, as the end of a sentence.
        rule: String,
    },
    /// The payload cannot be stored as JSON.
    #[error("cannot be stored: {0}")]
    Json(JsonViolation),
    /// Checking the payload against its type takes more work than a payload of its size may.
    #[error("takes more work to check against its type than a payload of this size may: make the type simpler")]
    TooComplex,
    /// There are more errors than are reported.
    #[error("has more errors than are reported here")]
    Others,
}

/// Returns the kind of a value, as the end of "must be …, not …".
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Collects errors up to a bound: the answer to a hostile payload must not be larger than the payload.
#[derive(Default)]
pub(super) struct Problems {
    errors: Vec<PayloadError>,
    bytes: usize,
    /// Whether an error was left out.
    cut: bool,
}

impl Problems {
    /// The maximum number of reported errors, and the maximum length of their text in bytes.
    pub(super) const REPORTED: usize = 100;
    const SAID: usize = 12_000;

    pub(super) fn push(&mut self, path: String, problem: PayloadProblem) {
        if self.cut {
            return;
        }
        let error = PayloadError { path, problem };
        let bytes = self.bytes.saturating_add(error.to_string().len());
        if self.errors.len() < Self::REPORTED && bytes <= Self::SAID {
            self.bytes = bytes;
            self.errors.push(error);
        } else {
            self.cut = true;
            self.errors.push(PayloadError { path: "the payload".to_owned(), problem: PayloadProblem::Others });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns whether nothing more is reported.
    pub(super) fn is_full(&self) -> bool {
        self.cut
    }

    pub(super) fn or<T>(self, value: T) -> Result<T, PayloadErrors> {
        if self.errors.is_empty() { Ok(value) } else { Err(PayloadErrors(self.errors)) }
    }
}
