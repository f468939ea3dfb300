//! The functions that a step can run: with or without a context, with or without a state of the host.

use std::future::{Future, Ready};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::handler::{
    ErasedHandler, HandlerOutput, Output, OutputShape, StepContext, StepError, StepFailure, StepResult, decode_input,
    encode_output,
};

/// An input type of step functions: anything owned that deserialises.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the input of a step",
    label = "the input of a step is read from JSON",
    note = "add `#[derive(serde::Deserialize)]` to `{Self}`, let it own its data, and make it `Send`"
)]
pub trait StepInput: DeserializeOwned + Send + 'static {}

impl<T: DeserializeOwned + Send + 'static> StepInput for T {}

/// The return type of step functions: a future of a [`StepResult`], or of a result with an error type of the host.
#[diagnostic::on_unimplemented(
    message = "a step function must be `async`, `Send` and return `StepResult<Output>`",
    label = "this step function returns `{Self}`",
    note = "write `async fn(input: Input, context: StepContext) -> StepResult<Output>`, where `Output` implements `Serialize`; the error may be any type that implements `std::error::Error`"
)]
pub trait StepFuture: Future<Output = Result<Self::Gives, Self::Fails>> + Send {
    /// The output type.
    type Gives: Output;
    /// The error type.
    type Fails: StepFailure;
}

impl<F, O, E> StepFuture for F
where
    F: Future<Output = Result<O, E>> + Send,
    O: Output,
    E: StepFailure,
{
    type Gives = O;
    type Fails = E;
}

/// A function of the host, called in one way. Implemented for the forms that [`Action`](super::Action) accepts.
#[doc(hidden)]
pub trait StepFunction<I, R>: Send + Sync + 'static {
    /// Calls the function.
    fn call(&self, input: I, context: StepContext) -> R;
}

/// A function of the input and the context.
#[doc(hidden)]
pub struct OfContext<F>(pub(super) F);

impl<F: Fn(I, StepContext) -> R + Send + Sync + 'static, I, R> StepFunction<I, R> for OfContext<F> {
    fn call(&self, input: I, context: StepContext) -> R {
        (self.0)(input, context)
    }
}

/// A function of the input alone.
#[doc(hidden)]
pub struct OfInput<F>(pub(super) F);

impl<F: Fn(I) -> R + Send + Sync + 'static, I, R> StepFunction<I, R> for OfInput<F> {
    fn call(&self, input: I, _: StepContext) -> R {
        (self.0)(input)
    }
}

/// A function with a state of the host. Made by [`with`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a function with a state runs only as the action of a step"]
pub struct With<S, F> {
    pub(super) state: S,
    pub(super) function: F,
}

/// Gives a step function a state, such as the host's connections and settings, as its first argument. Each call
/// receives a clone: a state that is costly to clone belongs in an [`Arc`].
///
/// ```
/// use std::sync::Arc;
///
/// use serde::Deserialize;
/// use squidmesh_core::{COMPLETE, Step, StepContext, StepResult, Trigger, Workflow, with};
///
/// struct App { base_rate: f64 }
///
/// #[derive(Deserialize)]
/// struct Loan { cents: u64 }
///
/// async fn score(app: Arc<App>, loan: Loan) -> StepResult<f64> {
///     Ok(app.base_rate * loan.cents as f64)
/// }
/// async fn offer(_: Arc<App>, _: Loan, context: StepContext) -> StepResult<u32> {
///     Ok(context.attempt)
/// }
///
/// let app = Arc::new(App { base_rate: 0.03 });
/// let workflow = Workflow::builder("loan")
///     .trigger(Trigger::manual("apply"))
///     .step(Step::new("score", with(app.clone(), score)).output("score"))
///     .step(Step::new("offer", with(app, offer)).output("offer"))
///     .then("score", "offer")
///     .then("offer", COMPLETE)
///     .build()?;
/// # Ok::<(), squidmesh_core::DefinitionErrors>(())
/// ```
///
/// A transactional function takes the transaction after the input: `transactional(with(app, pay))` for
/// `async fn pay(app: App, input: Input, transaction: &Transaction, context: StepContext) -> StepResult<Output>`.
pub fn with<S, F>(state: S, function: F) -> With<S, F>
where
    S: Clone + Send + Sync + 'static,
{
    With { state, function }
}

/// A function of a state and the input.
#[doc(hidden)]
pub struct OfState<S, F>(pub(super) With<S, F>);

impl<S, F, I, R> StepFunction<I, R> for OfState<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, I) -> R + Send + Sync + 'static,
{
    fn call(&self, input: I, _: StepContext) -> R {
        (self.0.function)(self.0.state.clone(), input)
    }
}

/// A function of a state, the input and the context.
#[doc(hidden)]
pub struct OfStateAndContext<S, F>(pub(super) With<S, F>);

impl<S, F, I, R> StepFunction<I, R> for OfStateAndContext<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, I, StepContext) -> R + Send + Sync + 'static,
{
    fn call(&self, input: I, context: StepContext) -> R {
        (self.0.function)(self.0.state.clone(), input, context)
    }
}

/// The function of steps that run none.
#[doc(hidden)]
pub struct NoFunction;

impl StepFunction<(), Ready<StepResult<()>>> for NoFunction {
    fn call(&self, (): (), _: StepContext) -> Ready<StepResult<()>> {
        std::future::ready(Ok(()))
    }
}

/// Erases the types of a step function that is known to fit.
pub(super) fn hide<F, I, R>(function: F) -> Arc<dyn ErasedHandler>
where
    F: StepFunction<I, R>,
    I: StepInput,
    R: StepFuture + 'static,
{
    Arc::new(Function { function, types: PhantomData::<fn(I) -> R> })
}

struct Function<F, I, R> {
    function: F,
    types: PhantomData<fn(I) -> R>,
}

#[async_trait]
impl<F, I, R> ErasedHandler for Function<F, I, R>
where
    F: StepFunction<I, R>,
    I: StepInput,
    R: StepFuture + 'static,
{
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError> {
        let input = decode_input::<I>(input)?;
        encode_output(self.function.call(input, context).await.map_err(StepFailure::into_step_error)?)
    }

    fn output_shape(&self) -> OutputShape {
        R::Gives::shape()
    }
}
