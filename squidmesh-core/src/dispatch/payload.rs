//! The message that a queue carries: small, backend-neutral JSON.
//!
//! A queue can return anything, so reading a message checks everything and changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DispatchTarget, IntentKey};
use crate::id::RunId;
use crate::json;
use crate::name::{StepName, TriggerName, WorkflowName};
use crate::time::Timestamp;

/// The message that a queue carries, and that is passed to [`Runner::perform`](crate::Runner::perform).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryMessage {
    /// Executes a step of a run.
    Step {
        /// The run.
        run_id: RunId,
        /// The step.
        step: StepName,
    },
    /// Compensates a failed run.
    Compensation {
        /// The run.
        run_id: RunId,
    },
    /// Starts the run of one occurrence of a cron trigger.
    Cron {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger of the workflow.
        trigger: TriggerName,
        /// The intended time of the occurrence.
        intended_at: Timestamp,
    },
}

impl DeliveryMessage {
    /// The version that this process writes, and the latest that it understands.
    pub const VERSION: u64 = 1;

    /// Parses a message from a queue.
    ///
    /// # Errors
    /// [`InvalidMessage`] for anything that is not a message of a known version. A newer version is
    /// [`InvalidMessage::UnknownVersion`]: leave it for a process that knows it.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidMessage> {
        let limits = json::JsonLimits { max_bytes: 16 * 1024, max_depth: 4 };
        let value = json::parse(text, &limits).map_err(|violation| InvalidMessage::NotJson(violation.to_string()))?;
        let version = value.get("v").and_then(Value::as_u64).ok_or(InvalidMessage::Missing { field: "v" })?;
        if version != Self::VERSION {
            return Err(InvalidMessage::UnknownVersion { version });
        }
        match text_field(&value, "kind")? {
            "step" => Ok(DeliveryMessage::Step { run_id: field(&value, "run_id")?, step: field(&value, "step")? }),
            "compensation" => Ok(DeliveryMessage::Compensation { run_id: field(&value, "run_id")? }),
            "cron" => Ok(DeliveryMessage::Cron {
                workflow: field(&value, "workflow")?,
                trigger: field(&value, "trigger")?,
                intended_at: field(&value, "intended_at")?,
            }),
            _ => Err(InvalidMessage::UnknownKind),
        }
    }

    /// Returns the key of the intent that it delivers; `None` for cron.
    pub fn intent(&self) -> Option<IntentKey> {
        match self {
            DeliveryMessage::Step { run_id, step } => Some(IntentKey::step(*run_id, step.clone())),
            DeliveryMessage::Compensation { run_id } => Some(IntentKey::compensation(*run_id)),
            DeliveryMessage::Cron { .. } => None,
        }
    }
}

impl From<&IntentKey> for DeliveryMessage {
    fn from(key: &IntentKey) -> Self {
        let run_id = key.run_id;
        match &key.target {
            DispatchTarget::Step(step) => DeliveryMessage::Step { run_id, step: step.clone() },
            DispatchTarget::Compensation => DeliveryMessage::Compensation { run_id },
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Wire<'a> {
    Step { v: u64, run_id: &'a RunId, step: &'a StepName },
    Compensation { v: u64, run_id: &'a RunId },
    Cron { v: u64, workflow: &'a WorkflowName, trigger: &'a TriggerName, intended_at: &'a Timestamp },
}

impl Serialize for DeliveryMessage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let v = Self::VERSION;
        match self {
            DeliveryMessage::Step { run_id, step } => Wire::Step { v, run_id, step },
            DeliveryMessage::Compensation { run_id } => Wire::Compensation { v, run_id },
            DeliveryMessage::Cron { workflow, trigger, intended_at } => {
                Wire::Cron { v, workflow, trigger, intended_at }
            }
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeliveryMessage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        DeliveryMessage::parse(value.to_string().as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// Formats the JSON text that [`DeliveryMessage::parse`] reads.
impl fmt::Display for DeliveryMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn text_field<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, InvalidMessage> {
    value.get(field).and_then(Value::as_str).ok_or(InvalidMessage::Missing { field })
}

fn field<T: std::str::FromStr>(value: &Value, field: &'static str) -> Result<T, InvalidMessage> {
    text_field(value, field)?.parse().map_err(|_| InvalidMessage::Malformed { field })
}

/// A delivered message that cannot be executed. Park it where an operator sees it: it will never become valid,
/// except for an unknown version, which another process may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The message is not acceptable JSON.
    #[error("a delivery message is not acceptable JSON: {0}")]
    NotJson(String),
    /// A field is missing or not of its JSON type.
    #[error("a delivery message lacks the field {field}, or has it in another type")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The text of a field is not valid.
    #[error("a delivery message has a malformed {field}")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// The kind is not known in this version.
    #[error("a delivery message is of no known kind (step, compensation or cron)")]
    UnknownKind,
    /// The trigger has no schedule: only the host starts its runs.
    #[error(
        "a delivery message is an occurrence of trigger {trigger} of workflow {workflow}, which is manual: start a run instead"
    )]
    ManualTrigger {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The trigger does not fire at that time.
    #[error(
        "a delivery message is an occurrence at {intended_at}, and trigger {trigger} of workflow {workflow} does not fire then"
    )]
    NoOccurrence {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
        /// The time.
        intended_at: Timestamp,
    },
    /// The message was written by a newer process.
    #[error("a delivery message has version {version}, this process knows version 1: leave it for a newer process")]
    UnknownVersion {
        /// The version of the message.
        version: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads() -> Vec<DeliveryMessage> {
        let run_id = RunId::from_uuid(uuid::Uuid::nil());
        vec![
            DeliveryMessage::Step { run_id, step: StepName::new("reserve").unwrap() },
            DeliveryMessage::Compensation { run_id },
            DeliveryMessage::Cron {
                workflow: WorkflowName::new("checkout").unwrap(),
                trigger: TriggerName::new("nightly").unwrap(),
                intended_at: Timestamp::EPOCH,
            },
        ]
    }

    #[test]
    fn a_payload_reads_back_what_it_wrote() {
        for payload in payloads() {
            assert_eq!(DeliveryMessage::parse(payload.to_string().as_bytes()), Ok(payload));
        }
    }

    #[test]
    fn the_wire_form_is_stable() {
        let texts: Vec<String> = payloads().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"{"kind":"step","v":1,"run_id":"00000000-0000-0000-0000-000000000000","step":"reserve"}"#,
                r#"{"kind":"compensation","v":1,"run_id":"00000000-0000-0000-0000-000000000000"}"#,
                r#"{"kind":"cron","v":1,"workflow":"checkout","trigger":"nightly","intended_at":"1970-01-01T00:00:00.000Z"}"#,
            ]
        );
    }

    #[test]
    fn what_is_not_a_payload_is_refused_with_a_reason() {
        let refused = |text: &str| DeliveryMessage::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused("no"), InvalidMessage::NotJson(_)));
        assert_eq!(refused("{}"), InvalidMessage::Missing { field: "v" });
        assert_eq!(refused(r#"{"v":2,"kind":"dance"}"#), InvalidMessage::UnknownVersion { version: 2 });
        assert_eq!(refused(r#"{"v":1,"kind":"dance"}"#), InvalidMessage::UnknownKind);
        assert_eq!(refused(r#"{"v":1,"kind":"compensation"}"#), InvalidMessage::Missing { field: "run_id" });
        let malformed = r#"{"v":1,"kind":"compensation","run_id":"7"}"#;
        assert_eq!(refused(malformed), InvalidMessage::Malformed { field: "run_id" });
    }
}
