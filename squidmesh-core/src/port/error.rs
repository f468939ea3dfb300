//! The errors of a store.

use crate::chain::debug_as_text;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The errors of a store. The adapter classifies them; callers rely on the class.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached or is too busy; nothing was changed. Retrying later may succeed.
    #[error("the store is not available while {doing}: {source}")]
    Unavailable {
        /// The operation that failed.
        doing: &'static str,
        /// The adapter's own error.
        #[source]
        source: Source,
    },
    /// The answer to a commit was lost: the commit may or may not have been applied.
    #[error("the answer to a commit was lost, and it may have been applied: {source}")]
    OutcomeUnknown {
        /// The adapter's own error.
        #[source]
        source: Source,
    },
    /// A stored item cannot be read. Only this item is affected.
    #[error("{what} is stored in a form that cannot be read: {reason}")]
    Corrupt {
        /// The item: its kind and key.
        what: String,
        /// Why it cannot be read, without its content.
        reason: String,
    },
    /// The store lacks a capability.
    #[error("this store cannot {capability}")]
    Unsupported {
        /// The missing capability.
        capability: &'static str,
    },
    /// The database refused permanently, for example for lack of rights or a missing table; retrying will not help.
    #[error("the store refused while {doing}: {source}")]
    Refused {
        /// The operation that failed.
        doing: &'static str,
        /// The adapter's own error.
        #[source]
        source: Source,
    },
}

debug_as_text!(StoreError);

impl StoreError {
    /// Copies the error for another caller of the same operation; its source becomes text.
    pub(crate) fn copy(&self) -> StoreError {
        let as_text = |source: &Source| {
            let chain = std::iter::successors(Some(&**source as &dyn std::error::Error), |error| error.source());
            Source::from(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        };
        match self {
            StoreError::Unavailable { doing, source } => StoreError::Unavailable { doing, source: as_text(source) },
            StoreError::OutcomeUnknown { source } => StoreError::OutcomeUnknown { source: as_text(source) },
            StoreError::Corrupt { what, reason } => StoreError::Corrupt { what: what.clone(), reason: reason.clone() },
            StoreError::Unsupported { capability } => StoreError::Unsupported { capability },
            StoreError::Refused { doing, source } => StoreError::Refused { doing, source: as_text(source) },
        }
    }

    /// Returns whether nothing was changed and retrying later may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}
