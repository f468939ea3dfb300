//! The rules about the declaration of one payload.

use std::collections::HashSet;

use super::super::contract_problem::{ContractProblem, PayloadOwner};
use super::super::error::DefinitionError;
use crate::contract::{Contract, Field};

pub(super) fn check(owner: PayloadOwner, contract: &Contract, errors: &mut Vec<DefinitionError>) {
    let problems = match contract {
        Contract::Nothing => Vec::new(),
        Contract::Fields(fields) => of_fields(fields),
        Contract::Schema(schema) => match schema.compile() {
            Err(reason) => vec![ContractProblem::InvalidSchema { reason: reason.to_owned() }],
            Ok(_) if !schema.takes_objects() => vec![ContractProblem::NotAnObject],
            Ok(_) => Vec::new(),
        },
    };
    errors.extend(problems.into_iter().map(|problem| DefinitionError::Payload { owner: owner.clone(), problem }));
}

fn of_fields(fields: &[Field]) -> Vec<ContractProblem> {
    let mut problems = Vec::new();
    let (mut names, mut twice) = (HashSet::new(), HashSet::new());
    for field in fields {
        let name = || field.name().to_owned();
        if field.name().is_empty() {
            problems.push(ContractProblem::EmptyFieldName);
        }
        if !names.insert(field.name()) && twice.insert(field.name()) {
            problems.push(ContractProblem::DuplicateField { field: name() });
        }
        if !field.default_fits() {
            problems.push(ContractProblem::DefaultTypeMismatch { field: name(), expected: field.kind() });
        }
    }
    problems
}
