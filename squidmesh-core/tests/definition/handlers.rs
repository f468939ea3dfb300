//! Code of the host, called the way the runner calls it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use squidmesh_core::{
    Cancellation, Compensation, Delayed, ErasedHandler, ErrorKind, Handler, HandlerOutput, RunId, Step, StepContext,
    StepError, StepName, StepResult, TransactionType, TransactionalHandler, WorkflowName, secs, transactional,
};
use uuid::Uuid;

use crate::declared::triggered;

fn context() -> StepContext {
    StepContext::new(
        RunId::new(Uuid::nil()),
        WorkflowName::new("orders").unwrap(),
        StepName::new("a").unwrap(),
        2,
        Arc::new(Map::new()),
        Cancellation::new(),
    )
}

fn run(step: Step, input: Value) -> Result<HandlerOutput, StepError> {
    let workflow = triggered().step(step).build().unwrap();
    call(workflow.handler("a").unwrap(), input)
}

fn call(handler: &Arc<dyn ErasedHandler>, input: Value) -> Result<HandlerOutput, StepError> {
    handler.call(input, context()).now_or_never().expect("no test handler waits")
}

#[derive(Serialize, Deserialize)]
struct Order {
    id: u32,
}

async fn double(order: Order, context: StepContext) -> StepResult<Value> {
    Ok(json!({"id": order.id * 2, "attempt": context.attempt}))
}

struct Adding {
    amount: u32,
}

#[async_trait::async_trait]
impl Handler for Adding {
    type Input = Order;
    type Output = Delayed<Order>;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<Delayed<Order>> {
        Ok(Delayed::by(Duration::from_secs(3), Order { id: order.id + self.amount }))
    }
}

#[test]
fn functions_closures_and_types_all_run() {
    let output = |value| Ok(HandlerOutput { value, schedule_in: None });
    assert_eq!(run(Step::new("a", double), json!({"id": 4})), output(json!({"id": 8, "attempt": 2})));
    let add = 3;
    let closure = move |order: Order, _: StepContext| async move { Ok(order.id + add) };
    assert_eq!(run(Step::new("a", closure), json!({"id": 4})), output(json!(7)));
    assert_eq!(
        run(Step::new("a", Adding { amount: 5 }), json!({"id": 4})),
        Ok(HandlerOutput { value: json!({"id": 9}), schedule_in: Some(secs(3)) })
    );
    assert_eq!(run(Step::new("a", async |_: Value, _: StepContext| Ok(())), json!(1)), output(json!(null)));
}

#[test]
fn input_that_does_not_fit_fails_for_good_without_running_or_showing_it() {
    let error = run(Step::new("a", double), json!({"id": "4111-1111"})).unwrap_err();
    assert_eq!((error.kind.as_str(), error.retryable), (ErrorKind::INVALID_INPUT, false));
    assert!(error.message.contains("at id: expected u32, found a text"), "{}", error.message);
    assert!(!error.message.contains("4111"), "{}", error.message);
}

#[test]
fn output_that_json_cannot_hold_fails_for_good() {
    let error = run(Step::new("a", async |_: Value, _: StepContext| Ok(vec![f64::NAN])), json!({})).unwrap_err();
    assert_eq!((error.kind.as_str(), error.retryable), (ErrorKind::INVALID_OUTPUT, false));
    assert!(error.message.contains("[0]"), "{}", error.message);
}

#[derive(Debug, thiserror::Error)]
#[error("the gateway did not answer")]
struct Gateway(#[source] std::io::Error);

async fn failing(_: Value, _: StepContext) -> StepResult<()> {
    Err(Gateway(std::io::Error::other("connection reset")))?;
    Ok(())
}

#[test]
fn any_error_becomes_a_retryable_failure_with_its_causes() {
    let error = run(Step::new("a", failing), json!({})).unwrap_err();
    assert!(error.retryable);
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("error", "the gateway did not answer"));
    assert_eq!(error.chain, ["connection reset"]);
    assert_eq!(error.to_string(), "error: the gateway did not answer: connection reset");
}

#[test]
fn a_failure_keeps_everything_through_storage() {
    let error = StepError::retryable("busy").kind("http_503").details(json!({"after": 3})).retry_after(secs(3));
    let read: StepError = serde_json::from_value(serde_json::to_value(&error).unwrap()).unwrap();
    assert_eq!(read, error);
}

#[test]
fn a_failure_is_small_enough_to_be_returned_by_value() {
    assert!(size_of::<StepError>() < 128, "{}", size_of::<StepError>());
}

#[test]
fn details_that_json_cannot_hold_are_replaced_by_the_reason() {
    let error = StepError::terminal("x").details(f64::NAN);
    assert!(error.details.unwrap().as_str().unwrap().contains("not a number"));
}

async fn release(undo: Compensation<Order, Value>, _: StepContext) -> StepResult<Value> {
    Ok(json!([undo.input.id, undo.output, undo.failure, undo.payload, undo.context]))
}

#[test]
fn a_compensation_is_given_what_it_makes_good() {
    let workflow = triggered().step(Step::new("a", double).compensate(release)).build().unwrap();
    assert!(workflow.definition().step("a").unwrap().recovery.compensated_by_handler);
    let given =
        json!({"payload": {"p": 1}, "context": {}, "input": {"id": 7}, "output": "o", "failure": {"kind": "x"}});
    let output = call(workflow.compensation("a").unwrap(), given).unwrap();
    assert_eq!(output.value, json!([7, "o", {"kind": "x"}, {"p": 1}, {}]));
    assert!(workflow.compensation("b").is_none());
}

/// Stands for the transaction of a database.
struct Transaction(u32);

async fn in_transaction(order: Order, transaction: &Transaction, context: StepContext) -> StepResult<Value> {
    Ok(json!([order.id, transaction.0, context.attempt]))
}

struct Booking;

#[async_trait::async_trait]
impl TransactionalHandler for Booking {
    type Input = Order;
    type Transaction = Transaction;
    type Output = Value;

    async fn run(&self, order: Order, transaction: &Transaction, context: StepContext) -> StepResult<Value> {
        in_transaction(order, transaction, context).await
    }
}

#[test]
fn functions_closures_and_types_take_a_transaction() {
    let closure = async |order: Order, transaction: &Transaction, context: StepContext| {
        in_transaction(order, transaction, context).await
    };
    for made in [transactional(in_transaction), transactional(Booking), transactional(closure)] {
        let workflow = triggered().step(Step::new("a", made)).build().unwrap();
        assert!(workflow.definition().step("a").unwrap().transactional && workflow.handler("a").is_none());
        let handler = workflow.transactional_handler("a").unwrap();
        assert_eq!(handler.transaction_type(), TransactionType::of::<Transaction>());
        let call = |transaction: &(dyn std::any::Any + Send + Sync)| {
            handler.call(json!({"id": 4}), transaction, context()).now_or_never().expect("no test handler waits")
        };
        assert_eq!(call(&Transaction(7)).unwrap().value, json!([4, 7, 2]));
        let error = call(&7).unwrap_err();
        assert_eq!((error.kind.as_str(), error.retryable), (ErrorKind::TRANSACTION, false));
    }
}

#[test]
fn a_built_in_step_has_no_handler() {
    let workflow = triggered().step(Step::new("a", squidmesh_core::wait(secs(1)))).build().unwrap();
    assert!(workflow.handler("a").is_none() && workflow.handler("b").is_none());
}
