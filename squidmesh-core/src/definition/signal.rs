//! The signals of a validated definition.
//!
//! Knows what a signal is called and which payload it carries; must never know who sends one, or which step waits.

use serde::Serialize;

use crate::contract::Contract;
use crate::name::SignalName;

/// A signal that runs of a workflow receive from outside, with the contract of its payload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalDefinition {
    pub(super) name: SignalName,
    #[serde(skip_serializing_if = "Contract::is_empty")]
    pub(super) contract: Contract,
}

impl SignalDefinition {
    /// Returns the name of the signal, unique in the workflow.
    pub fn name(&self) -> &SignalName {
        &self.name
    }

    /// Returns the contract of the payload.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }
}
