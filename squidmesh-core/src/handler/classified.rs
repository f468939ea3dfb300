//! Handlers whose errors the step classifies: `terminal_if` makes some of them terminal.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::context::StepContext;
use super::erased::ErasedHandler;
use super::error::StepError;
use super::output::HandlerOutput;
use super::output_shape::OutputShape;
use super::transactional::ErasedTransactional;
use crate::port::TransactionType;

/// Decides whether a failure is terminal.
pub(crate) type Rule = Arc<dyn Fn(&StepError) -> bool + Send + Sync>;

/// A handler with the rule that decides which of its failures are terminal. The rule is called in the future of
/// the step, and so in its cage.
pub(crate) struct Classified<H: ?Sized> {
    pub(crate) inner: Arc<H>,
    pub(crate) is_terminal: Rule,
}

impl<H: ?Sized> Classified<H> {
    fn classify(&self, called: Result<HandlerOutput, StepError>) -> Result<HandlerOutput, StepError> {
        called.map_err(|error| if (self.is_terminal)(&error) { error.into_terminal() } else { error })
    }
}

#[async_trait]
impl ErasedHandler for Classified<dyn ErasedHandler> {
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError> {
        self.classify(self.inner.call(input, context).await)
    }

    fn output_shape(&self) -> OutputShape {
        self.inner.output_shape()
    }
}

#[async_trait]
impl ErasedTransactional for Classified<dyn ErasedTransactional> {
    fn transaction_type(&self) -> TransactionType {
        self.inner.transaction_type()
    }

    async fn call(
        &self,
        input: Value,
        transaction: &(dyn Any + Send + Sync),
        context: StepContext,
    ) -> Result<HandlerOutput, StepError> {
        self.classify(self.inner.call(input, transaction, context).await)
    }

    fn output_shape(&self) -> OutputShape {
        self.inner.output_shape()
    }
}
