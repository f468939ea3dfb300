//! The rule for actors, the same for every call: an actor that is given is not empty and can be stored.

use serde_json::Value;

use super::Runtime;
use crate::json::JsonViolation;

/// The reasons why the actor of a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidActor {
    /// A decision names no actor, or an actor was given but is empty or only white space.
    #[error("the actor is missing or empty: name who acts")]
    Missing,
    /// The actor cannot be stored, or exceeds the limits.
    #[error("the actor was refused: {0}")]
    Unacceptable(#[from] JsonViolation),
}

impl Runtime {
    /// Checks an actor, if one is given.
    pub(super) fn check_actor(&self, actor: Option<&str>) -> Result<(), InvalidActor> {
        let Some(actor) = actor else { return Ok(()) };
        if actor.trim().is_empty() {
            return Err(InvalidActor::Missing);
        }
        Ok(self.config.json.check(&Value::from(actor))?)
    }
}
