//! Handlers as the runner calls them: JSON in, JSON out.

use std::any::type_name;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Handler;
use super::context::StepContext;
use super::error::StepError;
use super::output::{HandlerOutput, Output};
use super::output_shape::OutputShape;
use crate::json::decode;
use crate::run::FailureKind;

/// A handler with its types erased: JSON in, JSON out.
#[async_trait]
pub trait ErasedHandler: Send + Sync {
    /// Decodes the input, runs the handler and encodes its output.
    ///
    /// # Errors
    /// Returns the error of the handler; a terminal error of kind `invalid_input` if the input does not fit its
    /// type (the handler is not called); or a terminal error of kind `invalid_output` if its output cannot be
    /// represented as JSON.
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError>;

    /// Returns what the type of the output says about its JSON.
    fn output_shape(&self) -> OutputShape {
        OutputShape::Any
    }
}

/// A [`Handler`] with its types erased.
pub(crate) struct Typed<H>(pub(crate) H);

#[async_trait]
impl<H: Handler> ErasedHandler for Typed<H> {
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError> {
        let input = decode_input::<H::Input>(input)?;
        encode_output(self.0.run(input, context).await?)
    }

    fn output_shape(&self) -> OutputShape {
        H::Output::shape()
    }
}

pub(crate) fn decode_input<T: DeserializeOwned>(input: Value) -> Result<T, StepError> {
    decode(input).map_err(|failure| {
        let problem = format!("the input does not fit {}: {failure}", type_name::<T>());
        StepError::terminal(problem).kind(FailureKind::INVALID_INPUT)
    })
}

pub(crate) fn encode_output<T: Output>(output: T) -> Result<HandlerOutput, StepError> {
    output.into_output().map_err(|violation| {
        let problem = format!("the output {} cannot be stored: {violation}", type_name::<T>());
        StepError::terminal(problem).kind(FailureKind::INVALID_OUTPUT)
    })
}
