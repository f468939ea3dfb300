//! The rules about signals, and about the steps that wait for them.

use std::collections::HashSet;

use super::super::contract_problem::PayloadOwner;
use super::super::draft::Draft;
use super::super::error::DefinitionError;
use super::super::similar::{MAX_SUGGESTIONS, similar};
use super::super::step::StepKind;
use super::contracts;

pub(super) fn check(draft: &Draft, errors: &mut Vec<DefinitionError>) {
    let (mut names, mut twice) = (HashSet::new(), HashSet::new());
    for signal in &draft.signals {
        if !names.insert(signal.name.as_str()) && twice.insert(signal.name.as_str()) {
            errors.push(DefinitionError::DuplicateSignal { signal: signal.name.clone() });
        }
        contracts::check(PayloadOwner::Signal(signal.name.clone()), &signal.contract, errors);
    }
    let mut suggestions = 0..MAX_SUGGESTIONS;
    for step in &draft.steps {
        let StepKind::WaitFor { signal } = &step.kind else { continue };
        if !names.contains(signal.as_str()) {
            let declared = || draft.signals.iter().map(|signal| signal.name.as_str());
            let similar = suggestions.next().and_then(|_| similar(signal, declared()));
            errors.push(DefinitionError::UnknownSignal { step: step.name.clone(), signal: signal.clone(), similar });
        }
    }
}
