//! What a step can be declared with: an async function, a handler type, or a built-in.
//!
//! The traits exist so that `Step::new` accepts all three, and so that the compiler's error says what a function
//! lacks. `Action` matches anything that looks like a step; the finer traits then report what is wrong with its
//! input or its result.

use std::future::{Future, Ready};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::built_in::{Approval, ApprovalUntil, BuiltIn};
use crate::handler::{
    ErasedHandler, ErasedTransactional, Handler, HandlerOutput, Output, StepContext, StepError, StepFailure,
    StepResult, Typed, decode_input, encode_output,
};

/// Something that a step can be declared with. The marker distinguishes the three forms and is always inferred.
///
/// A function must be `async`:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult};
/// fn ship(_: u32, _: StepContext) -> StepResult<()> { Ok(()) }
/// Step::new("ship", ship);
/// ```
/// take the context:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult};
/// async fn ship(_: u32) -> StepResult<()> { Ok(()) }
/// Step::new("ship", ship);
/// ```
/// and return something that serialises:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult};
/// struct Parcel;
/// async fn ship(_: u32, _: StepContext) -> StepResult<Parcel> { Ok(Parcel) }
/// Step::new("ship", ship);
/// ```
/// Its error type must be an error:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext};
/// struct Odd;
/// async fn ship(_: u32, _: StepContext) -> Result<(), Odd> { Err(Odd) }
/// Step::new("ship", ship);
/// ```
/// The compiler reports which of these is missing at the line of `Step::new`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a step can run",
    label = "expected an async function, a handler or a built-in step",
    note = "a function must be `async` and take two arguments: `async fn(input: Input, context: StepContext) -> StepResult<Output>`",
    note = "a closure needs the types of its arguments and of its error: `|input: Input, context: StepContext| async move {{ StepResult::Ok(..) }}`",
    note = "a function that borrows a transaction is wrapped: `transactional(function)`",
    note = "a type must implement `Handler`; built-in steps are `wait(..)`, `log(..)`, `pause()` and `approval()`"
)]
pub trait Action<Marker>: Sized {
    /// The input type.
    type Input;
    /// The type that a call returns.
    type Returned: 'static;
    /// The type of the function, if the action is one.
    type Function: Fn(Self::Input, StepContext) -> Self::Returned + Send + Sync + 'static;
    /// The type of the resulting step action.
    type Runs: Into<StepAction>;

    /// Erases the types. A function cannot do so by itself, because its input and result are not known to fit
    /// here; a caller that has checked them passes the conversion.
    #[doc(hidden)]
    fn into_runs(self, hide: fn(Self::Function) -> Arc<dyn ErasedHandler>) -> Self::Runs;
}

/// Erases the types of a step function that is known to fit.
pub(super) fn hide<F, I, R>(function: F) -> Arc<dyn ErasedHandler>
where
    F: Fn(I, StepContext) -> R + Send + Sync + 'static,
    I: StepInput,
    R: StepFuture + 'static,
{
    Arc::new(Function { function, types: PhantomData::<fn(I) -> R> })
}

/// What a step runs, with its types erased.
#[derive(Clone)]
#[non_exhaustive]
pub enum StepAction {
    /// A handler of the host.
    Handler(Arc<dyn ErasedHandler>),
    /// A handler of the host that works in the transaction that records its outcome.
    Transactional(Arc<dyn ErasedTransactional>),
    /// A built-in step.
    BuiltIn(BuiltIn),
}

impl From<Arc<dyn ErasedHandler>> for StepAction {
    fn from(handler: Arc<dyn ErasedHandler>) -> Self {
        Self::Handler(handler)
    }
}

impl From<BuiltIn> for StepAction {
    fn from(built_in: BuiltIn) -> Self {
        Self::BuiltIn(built_in)
    }
}

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

/// Marks async functions and closures.
#[doc(hidden)]
pub struct ByFunction<I, R>(PhantomData<fn(I) -> R>);

impl<F, I, R> Action<ByFunction<I, R>> for F
where
    F: Fn(I, StepContext) -> R + Send + Sync + 'static,
    I: 'static,
    R: 'static,
{
    type Input = I;
    type Returned = R;
    type Function = F;
    type Runs = Arc<dyn ErasedHandler>;

    fn into_runs(self, hide: fn(F) -> Arc<dyn ErasedHandler>) -> Arc<dyn ErasedHandler> {
        hide(self)
    }
}

struct Function<F, I, R> {
    function: F,
    types: PhantomData<fn(I) -> R>,
}

#[async_trait]
impl<F, I, R> ErasedHandler for Function<F, I, R>
where
    F: Fn(I, StepContext) -> R + Send + Sync,
    I: StepInput,
    R: StepFuture + 'static,
{
    async fn call(&self, input: Value, context: StepContext) -> Result<HandlerOutput, StepError> {
        let input = decode_input::<I>(input)?;
        encode_output((self.function)(input, context).await.map_err(StepFailure::into_step_error)?)
    }
}

/// The `Function` type of actions that are not functions.
#[doc(hidden)]
pub(super) type NoFunction = fn((), StepContext) -> Ready<StepResult<()>>;

/// Marks types that implement [`Handler`].
#[doc(hidden)]
pub struct ByHandler;

impl<H: Handler> Action<ByHandler> for H {
    type Input = ();
    type Returned = Ready<StepResult<()>>;
    type Function = NoFunction;
    type Runs = Arc<dyn ErasedHandler>;

    fn into_runs(self, _: fn(NoFunction) -> Arc<dyn ErasedHandler>) -> Arc<dyn ErasedHandler> {
        Arc::new(Typed(self))
    }
}

/// Marks built-in steps.
#[doc(hidden)]
pub struct ByBuiltIn;

macro_rules! built_in_action {
    ($($type:ty),*) => {
        $(impl Action<ByBuiltIn> for $type {
            type Input = ();
            type Returned = Ready<StepResult<()>>;
            type Function = NoFunction;
            type Runs = BuiltIn;

            fn into_runs(self, _: fn(NoFunction) -> Arc<dyn ErasedHandler>) -> BuiltIn {
                self.into()
            }
        })*
    };
}

built_in_action!(BuiltIn, Approval, ApprovalUntil);
