//! A point in a transaction to which a commit that is not written returns.
//!
//! Knows who ends it. Knows nothing of what is written after it.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, TransactionTrait};

pub(crate) enum Savepoint<'a> {
    /// Released when the commit is written. If the caller drops the commit, it is undone.
    Nested(DatabaseTransaction),
    /// The transaction ends right after the commit, and the savepoint with it: a release would be one more round trip.
    Last(&'a DatabaseTransaction),
}

impl<'a> Savepoint<'a> {
    pub(crate) async fn nested(transaction: &DatabaseTransaction) -> Result<Self, DbErr> {
        transaction.begin().await.map(Savepoint::Nested)
    }

    pub(crate) async fn last(transaction: &'a DatabaseTransaction) -> Result<Self, DbErr> {
        transaction.execute_unprepared("SAVEPOINT squidmesh").await?;
        Ok(Savepoint::Last(transaction))
    }

    /// Returns what to write with after it.
    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        match self {
            Savepoint::Nested(nested) => nested,
            Savepoint::Last(transaction) => transaction,
        }
    }

    pub(crate) async fn keep(self) -> Result<(), DbErr> {
        match self {
            Savepoint::Nested(nested) => nested.commit().await,
            Savepoint::Last(_) => Ok(()),
        }
    }

    pub(crate) async fn undo(self) -> Result<(), DbErr> {
        match self {
            Savepoint::Nested(nested) => nested.rollback().await,
            Savepoint::Last(transaction) => {
                transaction.execute_unprepared("ROLLBACK TO SAVEPOINT squidmesh").await.map(drop)
            }
        }
    }
}
