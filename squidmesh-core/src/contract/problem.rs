//! What is wrong with a payload.
//!
//! Paths, rules and kinds only; must never hold a value.

use std::fmt;

use serde_json::Value;

use crate::json::JsonViolation;

/// Everything that is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadErrors(Vec<PayloadError>);

impl PayloadErrors {
    /// One problem with the payload as a whole.
    pub(super) fn only(problem: PayloadProblem) -> Self {
        Self(vec![PayloadError { path: "the payload".to_owned(), problem }])
    }

    /// The errors; at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, PayloadError> {
        self.0.iter()
    }

    /// Why the payload cannot be kept at all, if that is what is wrong with it.
    pub fn violation(&self) -> Option<&JsonViolation> {
        self.0.iter().find_map(|error| match &error.problem {
            PayloadProblem::Json(violation) => Some(violation),
            _ => None,
        })
    }

    /// How many errors there are; at least one. Never 0.
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

/// One thing that is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
#[non_exhaustive]
pub struct PayloadError {
    /// Where, such as `order.items[2].price`.
    pub path: String,
    /// What.
    pub problem: PayloadProblem,
}

/// What is wrong at one place of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadProblem {
    /// A required field is not there.
    #[error("is missing")]
    Missing,
    /// A field is there that nobody declared.
    #[error("is not a field of this payload")]
    Unknown,
    /// The value is of another kind than declared.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// The declared kind.
        expected: String,
        /// The kind that was found.
        found: &'static str,
    },
    /// The value is of the right kind but breaks another rule of its type.
    #[error("{rule}")]
    Rule {
        /// The rule, as the end of a sentence.
        rule: String,
    },
    /// The payload cannot be kept as JSON.
    #[error("cannot be kept: {0}")]
    Json(JsonViolation),
    /// There are more errors than are worth reporting.
    #[error("has more errors than are reported here")]
    Others,
}

/// The kind of a value, as the end of "must be …, not …".
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

/// Collects errors, up to a bound: the answer to a hostile payload must not be larger than the payload.
#[derive(Default)]
pub(super) struct Problems(Vec<PayloadError>);

impl Problems {
    /// How many errors are reported.
    pub(super) const REPORTED: usize = 100;

    pub(super) fn push(&mut self, path: String, problem: PayloadProblem) {
        match self.0.len() {
            count if count < Self::REPORTED => self.0.push(PayloadError { path, problem }),
            Self::REPORTED => {
                self.0.push(PayloadError { path: "the payload".to_owned(), problem: PayloadProblem::Others });
            }
            _ => {}
        }
    }

    pub(super) fn or<T>(self, value: T) -> Result<T, PayloadErrors> {
        if self.0.is_empty() { Ok(value) } else { Err(PayloadErrors(self.0)) }
    }
}
