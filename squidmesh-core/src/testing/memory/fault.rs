//! Faults that a test plants in a store.

use std::collections::VecDeque;

use crate::port::StoreError;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with [`StoreError::Unavailable`] and changes nothing.
    Unavailable,
    /// The commit is applied, but its answer is lost: the call fails with [`StoreError::OutcomeUnknown`].
    ErrorAfterApply,
    /// The commit is not applied, and its caller cannot know: the call fails with [`StoreError::OutcomeUnknown`].
    ErrorBefore,
    /// The commit is not applied yet, and its caller cannot know: the call fails with [`StoreError::OutcomeUnknown`].
    /// It is applied at the store's next commit, before that one.
    AppliedLate,
}

/// The source of every error that a planted [`Fault`] causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a test planted this fault")]
pub struct InjectedFault;

impl Fault {
    pub(super) fn error(self, doing: &'static str) -> StoreError {
        match self {
            Fault::Unavailable => StoreError::Unavailable { doing, source: Box::new(InjectedFault) },
            Fault::ErrorAfterApply | Fault::ErrorBefore | Fault::AppliedLate => {
                StoreError::OutcomeUnknown { source: Box::new(InjectedFault) }
            }
        }
    }
}

/// The faults waiting for their call, in the order in which they were planted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    of_calls: VecDeque<Fault>,
    of_commits: VecDeque<Fault>,
}

impl Faults {
    /// Plants a fault for the next call that can have it: any call for [`Fault::Unavailable`], else the next commit.
    pub(super) fn plant(&mut self, fault: Fault) {
        match fault {
            Fault::Unavailable => self.of_calls.push_back(fault),
            Fault::ErrorAfterApply | Fault::ErrorBefore | Fault::AppliedLate => self.of_commits.push_back(fault),
        }
    }

    /// Plants a fault for the next commit, even if other calls come before it.
    pub(super) fn plant_in_commit(&mut self, fault: Fault) {
        self.of_commits.push_back(fault);
    }

    /// Takes the fault for a call that is not a commit.
    pub(super) fn next_of_call(&mut self) -> Option<Fault> {
        self.of_calls.pop_front()
    }

    /// Takes the fault for a commit.
    pub(super) fn next_of_commit(&mut self) -> Option<Fault> {
        self.of_calls.pop_front().or_else(|| self.of_commits.pop_front())
    }
}
