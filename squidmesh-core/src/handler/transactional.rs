//! Handlers that work in the database transaction that records their outcome.
//!
//! Knows that there is a transaction of some type; must never know which store provides it.

use std::any::{Any, type_name};
use std::future::Future;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::StepContext;
use super::erased::{decode_input, encode_output};
use super::error::{StepError, StepResult};
use super::output::{HandlerOutput, Output};
use super::output_shape::OutputShape;
use crate::port::TransactionType;
use crate::run::FailureKind;

/// The code of a transactional step that carries state of its own; one without state can be a plain async
/// function. Pass it to [`transactional`](crate::transactional), which documents the rules.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of a transactional step",
    note = "implement `TransactionalHandler` for it, or use an `async fn(Input, &Transaction, StepContext) -> StepResult<Output>`"
)]
pub trait TransactionalHandler: Send + Sync + 'static {
    /// The input of the step. Input that does not fit fails the step permanently.
    type Input: DeserializeOwned + Send;
    /// The transaction type of the store on which the workflow runs.
    type Transaction: Any + Send + Sync;
    /// The output of the step, or [`WithDelay`](crate::workflow::WithDelay) of it.
    type Output: Output;

    /// Runs one attempt; an implementation writes `async fn run(..)`. Its writes in the transaction are stored if and
    /// only if this attempt is recorded as completed.
    ///
    /// # Errors
    /// A [`StepError`] rolls the writes back and says whether a retry makes sense; `?` on any error makes a
    /// retryable one.
    fn run(
        &self,
        input: Self::Input,
        transaction: &Self::Transaction,
        context: StepContext,
    ) -> impl Future<Output = StepResult<Self::Output>> + Send;
}

/// A transactional handler with its types erased behind JSON and `Any`.
#[async_trait]
pub trait ErasedTransactional: Send + Sync {
    /// Returns the transaction type that the handler needs.
    fn transaction_type(&self) -> TransactionType;

    /// Decodes the input, runs the handler in the transaction and encodes its output.
    ///
    /// # Errors
    /// As [`ErasedHandler::call`](crate::workflow::ErasedHandler::call); a transaction of another type is a terminal error.
    async fn call(
        &self,
        input: Value,
        transaction: &(dyn Any + Send + Sync),
        context: StepContext,
    ) -> Result<HandlerOutput, StepError>;

    /// Returns what the type of the output says about its JSON.
    fn output_shape(&self) -> OutputShape {
        OutputShape::Any
    }
}

/// A [`TransactionalHandler`] with its types erased.
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

    fn output_shape(&self) -> OutputShape {
        H::Output::shape()
    }
}

/// Returns the transaction as the handler's type. That the store provides this type is checked when the runtime
/// is built.
pub(crate) fn expected<T: Any>(transaction: &(dyn Any + Send + Sync)) -> Result<&T, StepError> {
    transaction.downcast_ref().ok_or_else(|| {
        let problem = format!("the handler needs a transaction of type {}, the store lent another", type_name::<T>());
        StepError::terminal(problem).kind(FailureKind::TRANSACTION)
    })
}
