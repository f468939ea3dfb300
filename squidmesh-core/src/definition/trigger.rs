//! The triggers of a validated definition.
//!
//! Knows what a trigger is called, what fires it and which payload it takes; must never know when it fires next.

use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::name::TriggerName;
use crate::schedule::MissedPolicy;

/// A named entry point of a workflow, with its own payload contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriggerDefinition {
    pub(super) name: TriggerName,
    pub(super) kind: TriggerKind,
    #[serde(skip_serializing_if = "Contract::is_empty")]
    pub(super) contract: Contract,
}

impl TriggerDefinition {
    /// Returns the name of the trigger, unique in the workflow.
    pub fn name(&self) -> &TriggerName {
        &self.name
    }

    /// Returns what fires the trigger.
    pub fn kind(&self) -> &TriggerKind {
        &self.kind
    }

    /// Returns the contract of the payload.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }
}

/// What fires a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TriggerKind {
    /// The host starts the runs.
    Manual,
    /// A schedule starts runs.
    Cron {
        /// The five fields: minute, hour, day of month, month, day of week.
        expression: String,
        /// The IANA name of the expression's time zone, such as `Europe/Berlin`.
        time_zone: String,
        /// The policy for occurrences that no process was running to fire.
        #[serde(default)]
        missed: MissedPolicy,
    },
}
