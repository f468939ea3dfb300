//! The rule for actors, the same for every command: an actor that is given is not empty and can be stored.

use serde_json::Value;

use super::Runtime;
use crate::json::JsonViolation;

/// Why an actor was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnacceptableActor {
    /// It is empty or only white space.
    Empty,
    /// It cannot be stored, or exceeds the limits.
    Json(JsonViolation),
}

/// Checks an actor, if one is given.
pub(super) fn check_actor(runtime: &Runtime, actor: Option<&str>) -> Result<(), UnacceptableActor> {
    let Some(actor) = actor else { return Ok(()) };
    if actor.trim().is_empty() {
        return Err(UnacceptableActor::Empty);
    }
    runtime.config.json.check(&Value::from(actor)).map_err(UnacceptableActor::Json)
}
