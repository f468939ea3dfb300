//! What a commit must never say, whatever the state of its run.

use crate::{IntentKey, StepName, StoreError};

/// A commit that breaks the contract of the store port: a defect of whoever made it. It comes as the source of a
/// [`StoreError::Refused`], and nothing of the commit is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractBreach {
    /// Revisions are counted one by one, from 1.
    #[error("the commit makes revision {made}, but {expected} follows the one that it was decided on")]
    Revision {
        /// The revision of the committed run.
        made: u64,
        /// What it must be.
        expected: u64,
    },
    /// Something about the run changed that never may.
    #[error("the commit changes what is fixed when a run is started, such as its payload or times")]
    FixedRunField,
    /// One commit writes something twice.
    #[error("the commit writes {what} more than once")]
    WrittenTwice {
        /// The thing: a step run, an attempt or an intent.
        what: String,
    },
    /// A step run is created that exists.
    #[error("the commit creates the step run of {step}, which exists")]
    StepExists {
        /// The step.
        step: StepName,
    },
    /// A step run is changed that does not exist.
    #[error("the commit changes the step run of {step}, which does not exist")]
    StepMissing {
        /// The step.
        step: StepName,
    },
    /// A step run's input, recovery policy or creation time changed.
    #[error("the commit changes what is fixed when the step run of {step} is created")]
    FixedStepField {
        /// The step.
        step: StepName,
    },
    /// An attempt is created whose number is not the next.
    #[error("the commit creates attempt {number} of {step}, but the next is {next}")]
    AttemptNumber {
        /// The step.
        step: StepName,
        /// The number of the new attempt.
        number: u32,
        /// The number that it must have.
        next: u32,
    },
    /// An intent belongs to another run.
    #[error("the commit writes the intent {key}, which is not of its run")]
    ForeignIntent {
        /// The intent.
        key: IntentKey,
    },
    /// An audit entry names another revision.
    #[error("the commit makes revision {made} and adds an audit entry of revision {entry}")]
    AuditRevision {
        /// The revision of the committed run.
        made: u64,
        /// The revision of the entry.
        entry: u64,
    },
}

impl From<ContractBreach> for StoreError {
    fn from(breach: ContractBreach) -> Self {
        StoreError::Refused { doing: "committing", source: Box::new(breach) }
    }
}
