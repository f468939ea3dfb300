//! Steps that work in the database transaction that records their outcome.
//!
//! As in `action`, the traits exist so that functions and types are both accepted, and so that the compiler's
//! error says what a function lacks.

use std::any::Any;
use std::future::{Future, Ready};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::action::{Action, StepAction};
use super::step_function::{NoFunction, StepInput, With};
use crate::handler::{
    ErasedHandler, ErasedTransactional, HandlerOutput, Output, OutputShape, StepContext, StepError, StepFailure,
    StepResult, TransactionalHandler, TypedTransactional, decode_input, encode_output, expected,
};
use crate::port::TransactionType;

/// Makes a step transactional: its handler works in the database transaction that records its outcome. The
/// handler's writes, the step's completion and the dispatch of the successor are committed together. An error, a
/// panic, a timeout or a lost lease rolls the handler's writes back; the failed attempt is still recorded.
///
/// The handler is an `async fn(Input, &Transaction, StepContext) -> StepResult<Output>` or a type that implements
/// [`TransactionalHandler`]. `Transaction` is the transaction type of the store; a mismatch is reported when the
/// runtime is built.
///
/// ```
/// use serde::Deserialize;
/// use squidmesh_core::{COMPLETE, Step, StepContext, StepResult, Trigger, Workflow, transactional};
/// # struct DatabaseTransaction; // such as that of SeaORM
/// # impl DatabaseTransaction { async fn execute(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) } }
///
/// #[derive(Deserialize)]
/// struct Debit { cents: u64 }
///
/// async fn debit(debit: Debit, transaction: &DatabaseTransaction, _: StepContext) -> StepResult<u64> {
///     transaction.execute("UPDATE accounts SET …").await?;
///     Ok(debit.cents)
/// }
///
/// let workflow = Workflow::builder("transfer")
///     .trigger(Trigger::manual("start"))
///     .step(Step::new("debit", transactional(debit)).output("debited"))
///     .then("debit", COMPLETE)
///     .build()?;
/// # Ok::<(), squidmesh_core::DefinitionErrors>(())
/// ```
///
/// # Rules
///
/// - **Await nothing but the transaction.** It stays open while the handler runs. On SQLite it holds the only
///   writer: no run of the process makes progress meanwhile, and a handler that waits for another write to the
///   same database deadlocks. On Postgres it holds a connection of the host's pool, which should have one for
///   each worker.
/// - Do not end the transaction from within. Nested transactions are allowed.
/// - The heartbeat in the context checks the cancellation only: whether the attempt still counts is decided when
///   it is recorded.
/// - The handler may run again within one attempt if the database fails or another change of the run intervenes.
///   Its earlier writes have been rolled back by then.
/// - An attempt that times out is stopped; a statement that the database is still executing may take longer.
///
/// A function must be `async`:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult, transactional};
/// # struct Transaction;
/// fn debit(_: u32, _: &Transaction, _: StepContext) -> StepResult<()> { Ok(()) }
/// transactional(debit);
/// ```
/// borrow the transaction:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult, transactional};
/// # struct Transaction;
/// async fn debit(_: u32, _: Transaction, _: StepContext) -> StepResult<()> { Ok(()) }
/// transactional(debit);
/// ```
/// and return something that serialises:
/// ```compile_fail,E0277
/// # use squidmesh_core::{Step, StepContext, StepResult, transactional};
/// # struct Transaction;
/// struct Receipt;
/// async fn debit(_: u32, _: &Transaction, _: StepContext) -> StepResult<Receipt> { Ok(Receipt) }
/// transactional(debit);
/// ```
pub fn transactional<A, Marker>(action: A) -> Transactional
where
    A: TransactionalAction<Marker>,
{
    Transactional(action.into_transactional())
}

/// The action of a transactional step. Made by [`transactional`].
#[derive(Clone)]
pub struct Transactional(pub(super) Arc<dyn ErasedTransactional>);

impl From<Transactional> for StepAction {
    fn from(transactional: Transactional) -> Self {
        StepAction::Transactional(transactional.0)
    }
}

/// Something that a transactional step can run. The marker distinguishes functions from types and is always
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a transactional step can run",
    label = "expected an async function that borrows a transaction, or a `TransactionalHandler`",
    note = "a function must be `async` and take three arguments: `async fn(input: Input, transaction: &Transaction, context: StepContext) -> StepResult<Output>`",
    note = "`Input` must implement `serde::Deserialize` and own its data, `Output` must implement `serde::Serialize`, and what it awaits must be `Send`"
)]
pub trait TransactionalAction<Marker> {
    /// Erases the types.
    #[doc(hidden)]
    fn into_transactional(self) -> Arc<dyn ErasedTransactional>;
}

/// Marks transactional steps.
#[doc(hidden)]
pub struct ByTransactional;

impl Action<ByTransactional> for Transactional {
    type Input = ();
    type Returned = Ready<StepResult<()>>;
    type Function = NoFunction;
    type Runs = Transactional;

    fn into_runs(self, _: fn(NoFunction) -> Arc<dyn ErasedHandler>) -> Transactional {
        self
    }
}

/// Marks types that implement [`TransactionalHandler`].
#[doc(hidden)]
pub struct ByTransactionalHandler;

impl<H: TransactionalHandler> TransactionalAction<ByTransactionalHandler> for H {
    fn into_transactional(self) -> Arc<dyn ErasedTransactional> {
        Arc::new(TypedTransactional(self))
    }
}

/// An async function that borrows a transaction for the lifetime `'t`. The future that it returns differs by
/// lifetime; therefore it is named here and not in [`TransactionalAction`].
#[doc(hidden)]
pub trait BorrowsTransaction<'t, I, T: 't>: Send + Sync {
    type Gives: Output;
    type Fails: StepFailure;
    type Returned: Future<Output = Result<Self::Gives, Self::Fails>> + Send + 't;

    fn call(&self, input: I, transaction: &'t T, context: StepContext) -> Self::Returned;

    fn shape(&self) -> OutputShape {
        Self::Gives::shape()
    }
}

impl<'t, F, I, T, R, O, E> BorrowsTransaction<'t, I, T> for F
where
    F: Fn(I, &'t T, StepContext) -> R + Send + Sync,
    T: 't,
    R: Future<Output = Result<O, E>> + Send + 't,
    O: Output,
    E: StepFailure,
{
    type Gives = O;
    type Fails = E;
    type Returned = R;

    fn call(&self, input: I, transaction: &'t T, context: StepContext) -> R {
        self(input, transaction, context)
    }
}

/// A function that takes a state before its input.
pub struct OfState<S, F>(With<S, F>);

impl<'t, S, F, I, T, R, O, E> BorrowsTransaction<'t, I, T> for OfState<S, F>
where
    S: Clone + Send + Sync,
    F: Fn(S, I, &'t T, StepContext) -> R + Send + Sync,
    T: 't,
    R: Future<Output = Result<O, E>> + Send + 't,
    O: Output,
    E: StepFailure,
{
    type Gives = O;
    type Fails = E;
    type Returned = R;

    fn call(&self, input: I, transaction: &'t T, context: StepContext) -> R {
        (self.0.function)(self.0.state.clone(), input, transaction, context)
    }
}

/// Marks functions with a state.
#[doc(hidden)]
pub struct ByTransactionalState<I, T>(PhantomData<fn(I, T)>);

impl<S, F, I, T> TransactionalAction<ByTransactionalState<I, T>> for With<S, F>
where
    S: Send + Sync + 'static,
    OfState<S, F>: for<'t> BorrowsTransaction<'t, I, T> + 'static,
    I: StepInput,
    T: Any + Send + Sync,
{
    fn into_transactional(self) -> Arc<dyn ErasedTransactional> {
        Arc::new(Function { function: OfState(self), types: PhantomData::<fn(I, T)> })
    }
}

/// Marks async functions and closures.
#[doc(hidden)]
pub struct ByTransactionalFunction<I, T>(PhantomData<fn(I, T)>);

impl<F, I, T> TransactionalAction<ByTransactionalFunction<I, T>> for F
where
    F: for<'t> BorrowsTransaction<'t, I, T> + 'static,
    I: StepInput,
    T: Any + Send + Sync,
{
    fn into_transactional(self) -> Arc<dyn ErasedTransactional> {
        Arc::new(Function { function: self, types: PhantomData::<fn(I, T)> })
    }
}

struct Function<F, I, T> {
    function: F,
    types: PhantomData<fn(I, T)>,
}

#[async_trait]
impl<F, I, T> ErasedTransactional for Function<F, I, T>
where
    F: for<'t> BorrowsTransaction<'t, I, T>,
    I: StepInput,
    T: Any + Send + Sync,
{
    fn transaction_type(&self) -> TransactionType {
        TransactionType::of::<T>()
    }

    async fn call(
        &self,
        input: Value,
        transaction: &(dyn Any + Send + Sync),
        context: StepContext,
    ) -> Result<HandlerOutput, StepError> {
        let transaction = expected::<T>(transaction)?;
        let input = decode_input::<I>(input)?;
        let returned = self.function.call(input, transaction, context).await;
        encode_output(returned.map_err(StepFailure::into_step_error)?)
    }

    fn output_shape(&self) -> OutputShape {
        self.function.shape()
    }
}
