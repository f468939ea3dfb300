//! What a step can be declared with: an async function, a handler type, or a built-in.
//!
//! The traits exist so that `Step::new` accepts all three, and so that the compiler's error says what a function
//! lacks. `Action` matches anything that looks like a step; the finer traits then report what is wrong with its
//! input or its result.

use std::future::Ready;
use std::marker::PhantomData;
use std::sync::Arc;

use super::built_in::{Approval, ApprovalUntil, BuiltIn, WaitFor, WaitForUntil};
use super::step_function::{NoFunction, OfContext, OfInput, OfState, OfStateAndContext, StepFunction, With};
use crate::handler::{ErasedHandler, ErasedTransactional, Handler, StepContext, StepResult, Typed};

/// Something that a step can be declared with. The marker distinguishes the three forms and is always inferred.
///
/// A function must be `async`:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult};
/// fn ship(_: u32, _: StepContext) -> StepResult<()> { Ok(()) }
/// Step::new("ship", ship);
/// ```
/// take the input first:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult};
/// async fn ship() -> StepResult<()> { Ok(()) }
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
    note = "a function must be `async` and take the input, and the context if it needs it: `async fn(input: Input, context: StepContext) -> StepResult<Output>`",
    note = "a function that also takes a state of yours is wrapped: `with(state, function)`",
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
    #[doc(hidden)]
    type Function: StepFunction<Self::Input, Self::Returned>;
    /// The type of the resulting step action.
    type Runs: Into<StepAction>;

    /// Erases the types. A function cannot do so by itself, because its input and result are not known to fit
    /// here; a caller that has checked them passes the conversion.
    #[doc(hidden)]
    fn into_runs(self, hide: fn(Self::Function) -> Arc<dyn ErasedHandler>) -> Self::Runs;
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

/// Marks functions of the input and the context.
#[doc(hidden)]
pub struct ByFunction<I, R>(PhantomData<fn(I) -> R>);

/// Marks functions of the input.
#[doc(hidden)]
pub struct ByInput<I, R>(PhantomData<fn(I) -> R>);

/// Marks functions of a state and the input.
#[doc(hidden)]
pub struct ByState<I, R>(PhantomData<fn(I) -> R>);

/// Marks functions of a state, the input and the context.
#[doc(hidden)]
pub struct ByStateAndContext<I, R>(PhantomData<fn(I) -> R>);

macro_rules! function_action {
    ($marker:ident, $form:ident, [$($generic:ident),*], $function:ty, ($($argument:ty),*)) => {
        impl<F, I, R $(, $generic)*> Action<$marker<I, R>> for $function
        where
            F: Fn($($argument),*) -> R + Send + Sync + 'static,
            $($generic: Clone + Send + Sync + 'static,)*
            I: 'static,
            R: 'static,
        {
            type Input = I;
            type Returned = R;
            type Function = $form<$($generic,)* F>;
            type Runs = Arc<dyn ErasedHandler>;

            fn into_runs(self, hide: fn($form<$($generic,)* F>) -> Arc<dyn ErasedHandler>) -> Arc<dyn ErasedHandler> {
                hide($form(self))
            }
        }
    };
}

function_action!(ByFunction, OfContext, [], F, (I, StepContext));
function_action!(ByInput, OfInput, [], F, (I));
function_action!(ByState, OfState, [S], With<S, F>, (S, I));
function_action!(ByStateAndContext, OfStateAndContext, [S], With<S, F>, (S, I, StepContext));

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

built_in_action!(BuiltIn, Approval, ApprovalUntil, WaitFor, WaitForUntil);
