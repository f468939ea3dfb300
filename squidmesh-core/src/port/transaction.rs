//! Transactions of a store in which a step does its work and has its outcome recorded.
//!
//! Knows that a driver's transaction has a type, and nothing of what can be done with it: the store lends it, the handler of a
//! transactional step knows it, and the core passes it between the two.

use std::any::{Any, TypeId, type_name};
use std::fmt;

use async_trait::async_trait;

use super::StoreSession;

/// The type of the transactions that a store lends to transactional steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransactionType {
    id: TypeId,
    name: &'static str,
}

impl TransactionType {
    /// The type `T`.
    pub fn of<T: Any + Send + Sync>() -> Self {
        TransactionType { id: TypeId::of::<T>(), name: type_name::<T>() }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for TransactionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What is to be done in one transaction of a store: first the work of a host, then what is recorded of it.
///
/// A store calls each method at most once, the second only after the first has asked to go on.
#[async_trait]
pub trait TransactionBody: Send {
    /// Works in the transaction, which is of the type that the store [tells](crate::Store::transaction_type).
    async fn work(&mut self, transaction: &(dyn Any + Send + Sync)) -> TransactionEnd;

    /// Records the work, in a session that is joined to the same transaction and sees what others have committed meanwhile.
    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd;
}

/// How the body of a transaction wants it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    /// With everything that was written in it.
    Commit,
    /// As if it had never begun.
    RollBack,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transacted {
    /// Everything that was written in it is stored.
    Committed,
    /// Nothing is, as its body wanted.
    RolledBack,
    /// Nothing is: another change came in between. Try again with a fresh body.
    Conflict,
}
