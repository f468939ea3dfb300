//! Handlers as the runner calls them: JSON in, JSON out.

use std::any::type_name;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Handler;
use super::context::StepContext;
use super::error::{ErrorKind, StepError};
use super::output::Output;
use crate::json::decode;

/// A handler whose types are behind JSON.
#[async_trait]
pub trait ErasedHandler: Send + Sync {
    /// Decodes the input, runs the handler and encodes its output.
    ///
    /// # Errors
    /// What the handler fails with; or a terminal error of kind `invalid_input` if the input does not fit its type (the
    /// handler is not called), or of kind `invalid_output` if its output cannot be represented as JSON.
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError>;
}

/// What a handler gave back.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerOutput {
    /// The output as JSON, of any kind: `null` for `()`.
    pub value: Value,
    /// How much later the successor is to start, if the handler said so.
    pub schedule_in: Option<Duration>,
}

/// A [`Handler`] with its types hidden.
pub(crate) struct Typed<H>(pub(crate) H);

#[async_trait]
impl<H: Handler> ErasedHandler for Typed<H> {
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError> {
        let input = decode_input::<H::Input>(input)?;
        encode_output(self.0.run(input, context).await?)
    }
}

pub(crate) fn decode_input<T: DeserializeOwned>(input: Value) -> Result<T, StepError> {
    decode(input).map_err(|failure| {
        let problem = format!("the input does not fit {}: {failure}", type_name::<T>());
        StepError::terminal(problem).kind(ErrorKind::INVALID_INPUT)
    })
}

pub(crate) fn encode_output<T: Output>(output: T) -> Result<HandlerOutput, StepError> {
    output.into_output().map_err(|violation| {
        let problem = format!("the output {} cannot be kept: {violation}", type_name::<T>());
        StepError::terminal(problem).kind(ErrorKind::INVALID_OUTPUT)
    })
}
