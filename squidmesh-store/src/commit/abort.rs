//! Why a transaction of commits is rolled back, and what that means for each commit.

use sea_orm::DbErr;
use squidmesh_core::RunId;
use squidmesh_core::port::{CommitOutcome, StoreError};

use crate::error::{Fault, LOCK_TIMEOUT, STATEMENT_TIMEOUT, failed, has_code};

/// The maximum number of retries of a batch that found a row moved while it was about to change it.
pub(crate) const MAX_RETRIES: u32 = 5;

/// The result of one commit.
pub(crate) type Answer = Result<CommitOutcome, StoreError>;

/// Why a transaction must be rolled back.
#[derive(Debug)]
pub(crate) enum Abort {
    /// These commits, by index, no longer hold their intent. Without them, the rest can be written.
    Fenced(Vec<usize>),
    /// A claim was lost, or a row was moved while it was about to be changed. Nothing was written; what is still
    /// claimed may be retried.
    Retry,
    /// No transaction could be started: the database is unreachable, or too busy.
    NotBegun(DbErr),
    /// The database failed.
    Database(DbErr),
    /// A step run that a commit changes does not exist: the commit is wrong.
    MissingStepRun,
}

impl From<DbErr> for Abort {
    fn from(error: DbErr) -> Self {
        match error {
            // No connection could be acquired or opened: nothing was sent, and the next commit would fare no better.
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Abort::NotBegun(error),
            _ => Abort::Database(error),
        }
    }
}

impl Abort {
    /// Returns whether the cause is independent of any single commit, so that retrying each alone is pointless.
    pub(crate) fn affects_all(&self) -> bool {
        match self {
            Abort::NotBegun(_) => true,
            Abort::Database(error) => Fault::of(error) == Fault::Connection || has_code(error, STATEMENT_TIMEOUT),
            Abort::Fenced(_) | Abort::Retry | Abort::MissingStepRun => false,
        }
    }

    /// Returns whether another transaction has locked a row to be written, and may still release it.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Abort::Database(error) if has_code(error, LOCK_TIMEOUT))
    }

    /// Returns the error for one commit.
    pub(crate) fn to_error(&self, run: RunId) -> StoreError {
        match self {
            Abort::NotBegun(error) | Abort::Database(error) => failed("committing")(error.clone()),
            Abort::MissingStepRun => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: "a commit changes one of its step runs, which is not stored".to_owned(),
            },
            Abort::Fenced(_) | Abort::Retry => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: "a commit changes a step run or an intent that is missing, or that keeps changing".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnAcquireErr;
    use squidmesh_core::testing::sample;

    use super::*;

    #[test]
    fn without_a_connection_nobody_is_tried_alone() {
        let refused = Abort::from(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        assert!(refused.affects_all(), "each would wait as long for a connection as all of them together");
        assert!(matches!(refused.to_error(sample::run_id(1)), StoreError::Unavailable { .. }));
    }
}
