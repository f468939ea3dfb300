//! Handlers that work in the database transaction in which their outcome is recorded.
//!
//! Knows that there is a transaction of some type; must never know which store lends it.

use std::any::{Any, type_name};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::StepContext;
use super::erased::{HandlerOutput, decode_input, encode_output};
use super::error::{ErrorKind, StepError, StepResult};
use super::output::Output;
use crate::port::TransactionType;

/// The code of a transactional step, for steps that carry state of their own; one without state can be a plain async function.
/// Give it to [`transactional`](crate::transactional), where the rules are.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of a transactional step",
    note = "implement `TransactionalHandler` for it, or use an `async fn(Input, &Transaction, StepContext) -> StepResult<Output>`"
)]
pub trait TransactionalHandler: Send + Sync + 'static {
    /// What the step is given. Input that does not fit fails the step for good.
    type Input: DeserializeOwned + Send;
    /// The type of the transaction: that of the store which the workflow is to run on.
    type Transaction: Any + Send + Sync;
    /// What the step gives, or [`Delayed`](crate::Delayed) of it.
    type Output: Output;

    /// Runs one attempt. What it writes in the transaction is stored if and only if this attempt is recorded as completed.
    ///
    /// # Errors
    /// A [`StepError`] rolls back what was written and says whether trying again makes sense; `?` on any error makes one that
    /// does.
    async fn run(
        &self,
        input: Self::Input,
        transaction: &Self::Transaction,
        context: StepContext,
    ) -> StepResult<Self::Output>;
}

/// A transactional handler whose types are behind JSON and `Any`.
#[async_trait]
pub trait ErasedTransactional: Send + Sync {
    /// The type of the transaction that it needs.
    fn transaction_type(&self) -> TransactionType;

    /// Decodes the input, runs the handler in the transaction and encodes its output.
    ///
    /// # Errors
    /// As [`ErasedHandler::call`](crate::ErasedHandler::call); a transaction of another type is a terminal error.
    async fn call(
        &self,
        input: Value,
        transaction: &(dyn Any + Send + Sync),
        context: StepContext,
    ) -> Result<HandlerOutput, StepError>;
}

/// A [`TransactionalHandler`] with its types hidden.
pub(crate) struct TypedTransactional<H>(pub(crate) H);

#[async_trait]
impl<H: TransactionalHandler> ErasedTransactional for TypedTransactional<H> {
    fn transaction_type(&self) -> TransactionType {
        TransactionType::of::<H::Transaction>()
    }

    async fn call(
        &self,
        input: Value,
        transaction: &(dyn Any + Send + Sync),
        context: StepContext,
    ) -> Result<HandlerOutput, StepError> {
        let transaction = expected::<H::Transaction>(transaction)?;
        let input = decode_input::<H::Input>(input)?;
        encode_output(self.0.run(input, transaction, context).await?)
    }
}

/// The transaction as the handler knows it. That the store lends this type is checked when the runtime is built.
pub(crate) fn expected<T: Any>(transaction: &(dyn Any + Send + Sync)) -> Result<&T, StepError> {
    transaction.downcast_ref().ok_or_else(|| {
        let problem = format!("the handler needs a transaction of type {}, the store lent another", type_name::<T>());
        StepError::terminal(problem).kind(ErrorKind::TRANSACTION)
    })
}
