//! What a commit must never contain, in any state of its run.

use crate::dispatch::IntentKey;
use crate::name::StepName;
use crate::port::StoreError;

/// A commit that breaks the contract of the store port: a defect of its caller. It is the source of a
/// [`StoreError::Refused`], and no part of the commit is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractBreach {
    /// The revision does not follow the one before it. Revisions are counted one by one, from 1.
    #[error("the commit makes revision {made}, but {expected} follows the one that it was decided on")]
    Revision {
        /// The revision of the committed run.
        made: u64,
        /// The revision that it must be.
        expected: u64,
    },
    /// A field of the run changed that is fixed.
    #[error("the commit changes what is fixed when a run is started, such as its payload or times")]
    FixedRunField,
    /// One commit writes the same row twice.
    #[error("the commit writes {what} more than once")]
    WrittenTwice {
        /// The row: a step run, an attempt or an intent.
        what: String,
    },
    /// A step run is created that already exists.
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
    /// An attempt is created with a number that is not the next.
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
