//! The names of workflows, steps, triggers and queues: owned, cheap to clone, and validated once, on creation.
//!
//! Knows the rules that every name obeys; must never know what a name refers to.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The maximum length of a name, in bytes.
const MAX_BYTES: usize = 100;

/// The number of characters of a rejected name kept for the message.
const SHOWN: usize = 100;

/// A text that is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a {what}: it {reason}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    reason: NameProblem,
}

impl InvalidName {
    /// Returns the kind of name: `"workflow"`, `"step"`, `"trigger"`, `"signal"`, `"queue"` or
    /// `"route"`.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Returns the rejected name, cut to 100 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the rule that the name breaks.
    pub fn reason(&self) -> NameProblem {
        self.reason
    }
}

/// The rule that a rejected name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is longer than 100 bytes.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It contains a control character, such as a line break or NUL.
    #[error("contains a control character")]
    ControlCharacter,
    /// It begins or ends with white space.
    #[error("begins or ends with white space")]
    SurroundingSpace,
}

pub(crate) fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let reason = if name.is_empty() {
        NameProblem::Empty
    } else if name.len() > MAX_BYTES {
        NameProblem::TooLong
    } else if name.chars().any(char::is_control) {
        NameProblem::ControlCharacter
    } else if name.trim().len() != name.len() {
        NameProblem::SurroundingSpace
    } else {
        return Ok(());
    };
    Err(InvalidName { what, name: name.chars().take(SHOWN).collect(), reason })
}

/// Returns names for a message, separated by commas; `none` if there are none.
pub(crate) fn listed<T: ToString>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Gives the values of an enum their names: `ALL`, `as_str` and `from_name`.
macro_rules! names {
    ($type:ident, $where:literal: $($value:ident = $name:literal,)+) => {
        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: [$type; [$($name),+].len()] = [$($type::$value),+];

            #[doc = concat!("Returns the name used in ", $where, ".")]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($type::$value => $name,)+
                }
            }

            /// Returns the value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                $type::ALL.into_iter().find(|value| value.as_str() == name)
            }
        }
    };
}

pub(crate) use names;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A name is not empty, has at most 100 bytes, no control character, and no white space at its ends.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks and takes the name of a ", $what, ".")]
            ///
            /// # Errors
            /// [`InvalidName`] if the text breaks one of the rules for names.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                check($what, name)?;
                Ok(Self(Arc::from(name)))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a workflow.
    WorkflowName,
    "workflow"
);
name!(
    /// The name of a step, unique in its workflow.
    StepName,
    "step"
);
name!(
    /// The name of a trigger, unique in its workflow.
    TriggerName,
    "trigger"
);
name!(
    /// The name of a signal, unique in its workflow.
    SignalName,
    "signal"
);
name!(
    /// The name of a queue that executors serve; `"default"` by default.
    QueueName,
    "queue"
);

impl Default for QueueName {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_as_it_was_written() {
        for text in ["a", "place order", "größe", &"x".repeat(100)] {
            let name = StepName::new(text).unwrap();
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_string().parse::<StepName>().unwrap(), name);
        }
    }

    #[test]
    fn every_rule_for_names_is_checked() {
        let long = "é".repeat(51);
        for (text, reason) in [
            ("", NameProblem::Empty),
            (long.as_str(), NameProblem::TooLong),
            ("a\nb", NameProblem::ControlCharacter),
            ("a\0", NameProblem::ControlCharacter),
            (" a", NameProblem::SurroundingSpace),
            ("a\u{a0}", NameProblem::SurroundingSpace),
        ] {
            let error = TriggerName::new(text).unwrap_err();
            assert_eq!((error.what(), error.reason()), ("trigger", reason), "{text:?}");
        }
    }

    #[test]
    fn a_refused_name_is_cut_in_the_message() {
        assert_eq!(WorkflowName::new("y".repeat(100_000)).unwrap_err().name().len(), 100);
    }

    #[test]
    fn reading_a_name_checks_it() {
        assert_eq!(serde_json::from_str::<QueueName>("\"mail\"").unwrap(), "mail");
        assert!(serde_json::from_str::<QueueName>("\"\"").unwrap_err().to_string().contains("is empty"));
    }
}
