//! Transactions lent by a store, in which a step does its work and its outcome is recorded.
//!
//! Knows that a driver's transaction has a type, and nothing of what can be done with it: the store lends it, the
//! handler of a transactional step uses it, and the core passes it from one to the other.

use std::any::{Any, TypeId, type_name};
use std::fmt;

use async_trait::async_trait;

use super::session::StoreSession;

/// The type of the transactions that a store lends to transactional steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransactionType {
    id: TypeId,
    name: &'static str,
}

impl TransactionType {
    /// Returns the type `T`.
    pub fn of<T: Any + Send + Sync>() -> Self {
        TransactionType { id: TypeId::of::<T>(), name: type_name::<T>() }
    }

    /// Returns the type's name, for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for TransactionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The body of one transaction of a store: first the work of a host, then the record of its outcome.
///
/// A store calls each method at most once, and `record` only if `work` returned [`TransactionEnd::Commit`].
#[async_trait]
pub trait TransactionBody: Send {
    /// Does the work in the transaction, whose type is the store's
    /// [`transaction_type`](crate::port::Store::transaction_type).
    async fn work(&mut self, transaction: &(dyn Any + Send + Sync)) -> TransactionEnd;

    /// Records the outcome in a session joined to the same transaction, which sees what others have committed
    /// meanwhile.
    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd;
}

/// How the body wants the transaction to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    /// Commit everything written in it.
    Commit,
    /// Roll everything back.
    RollBack,
}

/// How the transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// Everything written in it is stored.
    Committed,
    /// Nothing is stored, as the body requested.
    RolledBack,
    /// Nothing is stored: another change conflicted. Retry with a new body.
    Conflict,
}
