//! The payload of a trigger or signal, as a host declares it.
//!
//! Collects a type or fields without checking them. Errors are reported when the workflow is built.

use schemars::JsonSchema;

use crate::contract::{Contract, Field, PayloadSchema};
use crate::definition::{ContractProblem, DefinitionError, PayloadOwner};

/// The payload of a trigger or signal: anything that describes itself by a JSON Schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of a trigger or signal",
    label = "the payload of a trigger or signal is described by its JSON Schema",
    note = "add `#[derive(schemars::JsonSchema)]` to `{Self}`, with `schemars = \"1\"` in `Cargo.toml`: what another version of that crate derives is another trait"
)]
pub trait Payload: JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: JsonSchema> Payload for T {}

/// The declaration of a payload.
#[derive(Clone, Debug, Default)]
pub(super) struct DeclaredPayload {
    schema: Option<PayloadSchema>,
    pub(super) fields: Vec<Field>,
    /// Whether a type was declared more than once.
    twice: bool,
}

impl DeclaredPayload {
    /// Declares the payload as a type.
    pub(super) fn declare(&mut self, schema: PayloadSchema) {
        self.twice |= self.schema.is_some();
        self.schema = Some(schema);
    }

    /// Returns the contract, and reports a payload that is declared twice.
    pub(super) fn into_contract(self, owner: PayloadOwner, errors: &mut Vec<DefinitionError>) -> Contract {
        if self.twice || (self.schema.is_some() && !self.fields.is_empty()) {
            errors.push(DefinitionError::Payload { owner, problem: ContractProblem::DeclaredTwice });
        }
        match self.schema {
            Some(schema) => Contract::Schema(schema),
            None if self.fields.is_empty() => Contract::Nothing,
            None => Contract::Fields(self.fields),
        }
    }
}
