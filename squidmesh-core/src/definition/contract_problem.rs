//! What is wrong with the declaration of a payload, and whose payload it is.

use std::fmt;

use crate::contract::FieldKind;

/// What a payload is declared for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadOwner {
    /// The trigger of this name.
    Trigger(String),
    /// The signal of this name.
    Signal(String),
}

impl fmt::Display for PayloadOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadOwner::Trigger(name) => write!(f, "the trigger {name:?}"),
            PayloadOwner::Signal(name) => write!(f, "the signal {name:?}"),
        }
    }
}

/// What is wrong with the declaration of a payload. Its message follows the name of the payload's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractProblem {
    /// The payload is declared both as a type and by fields, or as two types.
    #[error("declares its payload twice: use either one `.payload::<T>()` or `.field(..)`")]
    DeclaredTwice,
    /// The schema of the payload's type does not compile.
    #[error("has a payload schema that is not usable: {reason}")]
    InvalidSchema {
        /// Why the schema is not usable.
        reason: String,
    },
    /// The type of the payload is not an object.
    #[error("has a payload type that is not a struct or map: a payload is always a JSON object")]
    NotAnObject,
    /// A field is declared twice.
    #[error("declares the payload field {field:?} twice")]
    DuplicateField {
        /// The field.
        field: String,
    },
    /// A field has no name.
    #[error("declares a payload field with an empty name")]
    EmptyFieldName,
    /// The default of a field does not fit its type.
    #[error("gives the payload field {field:?} a default that is not {expected}")]
    DefaultTypeMismatch {
        /// The field.
        field: String,
        /// The declared kind of the field.
        expected: FieldKind,
    },
}
