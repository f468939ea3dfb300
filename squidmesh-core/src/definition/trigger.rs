//! The ways into a workflow, as they stand in a validated definition.
//!
//! Knows what a trigger is called, what fires it and which payload it takes; must never know when it fires next.

use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::name::TriggerName;

/// A named way into a workflow, with its own payload contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriggerDefinition {
    pub(super) name: TriggerName,
    pub(super) kind: TriggerKind,
    #[serde(skip_serializing_if = "Contract::is_empty")]
    pub(super) contract: Contract,
}

impl TriggerDefinition {
    /// The name, unique in the workflow.
    pub fn name(&self) -> &TriggerName {
        &self.name
    }

    /// What fires it.
    pub fn kind(&self) -> &TriggerKind {
        &self.kind
    }

    /// Which payload it takes.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }
}

/// What fires a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TriggerKind {
    /// The host starts runs by itself.
    Manual,
    /// A schedule starts runs.
    Cron {
        /// Five fields: minute, hour, day of month, month, day of week.
        expression: String,
        /// The IANA name of the time zone in which the expression is read, such as `Europe/Berlin`.
        time_zone: String,
        /// What happens to occurrences that nobody was there to fire.
        #[serde(default)]
        missed: MissedPolicy,
    },
}

/// What happens to the occurrences of a schedule that were missed while nothing ran. An occurrence was missed if no process
/// looked within a minute of it. Part of the workflow's fingerprint, like the expression: another policy is another version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    /// They are left out; the next one fires at its time.
    #[default]
    Skip,
    /// One run stands for all of them; its intended time is that of the last.
    Once,
    /// Each has its run, the earliest first. After a long time these may be many: they are started a part at a time.
    All,
}
