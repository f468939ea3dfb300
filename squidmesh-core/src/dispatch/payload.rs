//! The payload that a queue carries: small, backend-neutral JSON.
//!
//! Anything can come back from a queue, so reading a payload checks everything and touches nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DispatchTarget, IntentKey};
use crate::{RunId, StepName, Timestamp, TriggerName, WorkflowName, json};

/// What a queue carries, and what comes back through [`Runner::perform`](crate::Runner::perform).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryPayload {
    /// Carry out a step of a run.
    Step {
        /// The run.
        run_id: RunId,
        /// The step.
        step: StepName,
    },
    /// Compensate a failed run.
    Compensation {
        /// The run.
        run_id: RunId,
    },
    /// Start the run of one occurrence of a cron trigger.
    Cron {
        /// The workflow.
        workflow: WorkflowName,
        /// Its trigger.
        trigger: TriggerName,
        /// The nominal time of the occurrence.
        intended_at: Timestamp,
    },
}

impl DeliveryPayload {
    /// The version that this process writes, and the latest that it understands.
    pub const VERSION: u64 = 1;

    /// Reads a payload as it came from a queue.
    ///
    /// # Errors
    /// [`InvalidPayload`] for anything that is not a payload of a version known here. A newer version is
    /// [`InvalidPayload::UnknownVersion`]: leave it for a process that knows it.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPayload> {
        let limits = json::JsonLimits { max_bytes: 16 * 1024, max_depth: 4 };
        let value = json::parse(text, &limits).map_err(|violation| InvalidPayload::NotJson(violation.to_string()))?;
        let version = value.get("v").and_then(Value::as_u64).ok_or(InvalidPayload::Missing { field: "v" })?;
        if version != Self::VERSION {
            return Err(InvalidPayload::UnknownVersion { version });
        }
        match text_field(&value, "kind")? {
            "step" => Ok(DeliveryPayload::Step { run_id: field(&value, "run_id")?, step: field(&value, "step")? }),
            "compensation" => Ok(DeliveryPayload::Compensation { run_id: field(&value, "run_id")? }),
            "cron" => Ok(DeliveryPayload::Cron {
                workflow: field(&value, "workflow")?,
                trigger: field(&value, "trigger")?,
                intended_at: field(&value, "intended_at")?,
            }),
            _ => Err(InvalidPayload::UnknownKind),
        }
    }

    /// The intent that it delivers; `None` for cron.
    pub fn intent(&self) -> Option<IntentKey> {
        match self {
            DeliveryPayload::Step { run_id, step } => Some(IntentKey::step(*run_id, step.clone())),
            DeliveryPayload::Compensation { run_id } => Some(IntentKey::compensation(*run_id)),
            DeliveryPayload::Cron { .. } => None,
        }
    }
}

impl From<&IntentKey> for DeliveryPayload {
    fn from(key: &IntentKey) -> Self {
        let run_id = key.run_id;
        match &key.target {
            DispatchTarget::Step(step) => DeliveryPayload::Step { run_id, step: step.clone() },
            DispatchTarget::Compensation => DeliveryPayload::Compensation { run_id },
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

impl Serialize for DeliveryPayload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let v = Self::VERSION;
        match self {
            DeliveryPayload::Step { run_id, step } => Wire::Step { v, run_id, step },
            DeliveryPayload::Compensation { run_id } => Wire::Compensation { v, run_id },
            DeliveryPayload::Cron { workflow, trigger, intended_at } => {
                Wire::Cron { v, workflow, trigger, intended_at }
            }
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeliveryPayload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        DeliveryPayload::parse(value.to_string().as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// The JSON text that [`DeliveryPayload::parse`] reads.
impl fmt::Display for DeliveryPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn text_field<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, InvalidPayload> {
    value.get(field).and_then(Value::as_str).ok_or(InvalidPayload::Missing { field })
}

fn field<T: std::str::FromStr>(value: &Value, field: &'static str) -> Result<T, InvalidPayload> {
    text_field(value, field)?.parse().map_err(|_| InvalidPayload::Malformed { field })
}

/// A delivered payload that cannot be carried out. Park it where an operator sees it: it will never become valid, except
/// for an unknown version, which another process may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPayload {
    /// Not acceptable JSON at all.
    #[error("a delivered payload is not acceptable JSON: {0}")]
    NotJson(String),
    /// A field is missing or not of its JSON type.
    #[error("a delivered payload lacks the field {field}, or has it in another type")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is there, but its text is not what it must be.
    #[error("a delivered payload has a malformed {field}")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// No kind that this version has.
    #[error("a delivered payload is of no known kind (step, compensation or cron)")]
    UnknownKind,
    /// Written by a newer process.
    #[error("a delivered payload has version {version}, this process knows version 1: leave it for a newer process")]
    UnknownVersion {
        /// Its version.
        version: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads() -> Vec<DeliveryPayload> {
        let run_id = RunId::from_uuid(uuid::Uuid::nil());
        vec![
            DeliveryPayload::Step { run_id, step: StepName::new("reserve").unwrap() },
            DeliveryPayload::Compensation { run_id },
            DeliveryPayload::Cron {
                workflow: WorkflowName::new("checkout").unwrap(),
                trigger: TriggerName::new("nightly").unwrap(),
                intended_at: Timestamp::EPOCH,
            },
        ]
    }

    #[test]
    fn a_payload_reads_back_what_it_wrote() {
        for payload in payloads() {
            assert_eq!(DeliveryPayload::parse(payload.to_string().as_bytes()), Ok(payload));
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
        let refused = |text: &str| DeliveryPayload::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused("no"), InvalidPayload::NotJson(_)));
        assert_eq!(refused("{}"), InvalidPayload::Missing { field: "v" });
        assert_eq!(refused(r#"{"v":2,"kind":"dance"}"#), InvalidPayload::UnknownVersion { version: 2 });
        assert_eq!(refused(r#"{"v":1,"kind":"dance"}"#), InvalidPayload::UnknownKind);
        assert_eq!(refused(r#"{"v":1,"kind":"compensation"}"#), InvalidPayload::Missing { field: "run_id" });
        let malformed = r#"{"v":1,"kind":"compensation","run_id":"7"}"#;
        assert_eq!(refused(malformed), InvalidPayload::Malformed { field: "run_id" });
    }
}
