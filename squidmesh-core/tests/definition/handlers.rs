//! A host's handlers, called as the runner calls them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squidmesh_core::port::TransactionType;
use squidmesh_core::run::FailureKind;
use squidmesh_core::testing::step_context;
use squidmesh_core::workflow::{Compensation, ErasedHandler, HandlerOutput, TransactionalHandler, WithDelay};
use squidmesh_core::{Handler, Step, StepContext, StepError, StepResult, StepResultExt, secs, transactional};

use crate::declared::triggered;

fn context() -> StepContext {
    let mut context = step_context("orders", "a").unwrap();
    context.attempt = 2;
    context
}

fn run(step: Step, input: Value) -> Result<HandlerOutput, StepError> {
    let workflow = triggered().step(step.output("kept")).build().unwrap();
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

impl Handler for Adding {
    type Input = Order;
    type Output = WithDelay<Order>;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<WithDelay<Order>> {
        Ok(WithDelay::by(Duration::from_secs(3), Order { id: order.id + self.amount }))
    }
}

#[test]
fn functions_closures_and_types_all_run() {
    let output = |value| Ok(HandlerOutput { value, schedule_in: None, route: None });
    assert_eq!(run(Step::new("a", double), json!({"id": 4})), output(json!({"id": 8, "attempt": 2})));
    let add = 3;
    let closure = move |order: Order, _: StepContext| async move { StepResult::Ok(order.id + add) };
    assert_eq!(run(Step::new("a", closure), json!({"id": 4})), output(json!(7)));
    assert_eq!(
        run(Step::new("a", Adding { amount: 5 }), json!({"id": 4})),
        Ok(HandlerOutput { value: json!({"id": 9}), schedule_in: Some(secs(3)), route: None })
    );
    assert_eq!(run(Step::new("a", async |_: Value, _: StepContext| StepResult::Ok(())), json!(1)), output(json!(null)));
}

#[test]
fn input_that_does_not_fit_fails_terminally_without_running() {
    let error = run(Step::new("a", double), json!({"id": "4111-1111"})).unwrap_err();
    assert_eq!((error.kind.clone(), error.retryable), (FailureKind::INVALID_INPUT, false));
    assert!(error.message.contains("at id: expected u32, found a text"), "{}", error.message);
    assert!(!error.message.contains("4111"), "{}", error.message);
}

#[test]
fn output_that_json_cannot_hold_fails_terminally() {
    let error =
        run(Step::new("a", async |_: Value, _: StepContext| StepResult::Ok(vec![f64::NAN])), json!({})).unwrap_err();
    assert_eq!((error.kind.clone(), error.retryable), (FailureKind::INVALID_OUTPUT, false));
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

#[derive(Debug, thiserror::Error)]
enum LoanError {
    #[error("the register is busy")]
    Register(#[from] Gateway),
    #[error("nobody of that name")]
    Unknown,
}

async fn assess(known: Value, _: StepContext) -> Result<u32, LoanError> {
    if known == json!(null) {
        return Err(LoanError::Unknown);
    }
    Err(Gateway(std::io::Error::other("connection reset")))?
}

#[test]
fn a_handler_may_fail_with_the_hosts_own_error_type() {
    let error = run(Step::new("a", assess).output("score"), json!({})).unwrap_err();
    assert!(error.retryable);
    assert_eq!(error.to_string(), "error: the register is busy: the gateway did not answer: connection reset");
    let unknown = run(Step::new("a", assess).output("score"), json!(null)).unwrap_err();
    assert_eq!((unknown.kind.as_str(), unknown.message.as_str()), ("error", "nobody of that name"));
}

#[test]
fn a_transactional_handler_may_fail_with_its_own_error_too() {
    async fn debit(_: Value, _: &Transaction, _: StepContext) -> Result<u32, LoanError> {
        Err(LoanError::Unknown)
    }
    let workflow = triggered().step(Step::new("a", transactional(debit)).output("o")).build().unwrap();
    let handler = workflow.transactional_handler("a").unwrap();
    let error = handler.call(json!({}), &Transaction(7), context()).now_or_never().unwrap().unwrap_err();
    assert_eq!((error.message.as_str(), error.retryable), ("nobody of that name", true));
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

#[test]
fn every_common_sort_of_error_passes_the_question_mark() {
    async fn with_anyhow(_: Value, _: StepContext) -> StepResult<()> {
        use anyhow::Context;
        Err::<(), _>(Gateway(std::io::Error::other("connection reset"))).context("while paying")?;
        Ok(())
    }
    async fn returning_anyhow(_: Value, _: StepContext) -> anyhow::Result<()> {
        anyhow::bail!("no {}", "stock")
    }
    async fn boxed(_: Value, _: StepContext) -> StepResult<()> {
        Err::<(), Boxed>(Gateway(std::io::Error::other("connection reset")).into())?;
        Ok(())
    }
    async fn text(_: Value, _: StepContext) -> StepResult<()> {
        Err::<(), _>("no stock")?;
        Ok(())
    }
    let recorded = |step: Step| {
        let error = run(step, json!({})).unwrap_err();
        assert!(error.retryable && error.kind == FailureKind::ERROR);
        (error.message, error.chain)
    };
    let reset = "connection reset".to_owned();
    let gateway = "the gateway did not answer".to_owned();
    assert_eq!(
        recorded(Step::new("a", with_anyhow)),
        ("while paying".to_owned(), vec![gateway.clone(), reset.clone()])
    );
    assert_eq!(recorded(Step::new("a", returning_anyhow)), ("no stock".to_owned(), vec![]));
    assert_eq!(recorded(Step::new("a", boxed)), (gateway, vec![reset]));
    assert_eq!(recorded(Step::new("a", text)), ("no stock".to_owned(), vec![]));
}

#[test]
fn a_result_says_more_about_its_failure() {
    async fn declined(_: Value, _: StepContext) -> StepResult<u32> {
        "x".parse::<u32>().kind("bad_number").terminal()
    }
    async fn busy(_: Value, _: StepContext) -> StepResult<u32> {
        Err(LoanError::Unknown).retry_after(secs(9))
    }
    let error = run(Step::new("a", declined).output("n"), json!({})).unwrap_err();
    assert_eq!((error.kind.as_str(), error.retryable), ("bad_number", false));
    let error = run(Step::new("a", busy).output("n"), json!({})).unwrap_err();
    assert_eq!((error.retry_after, error.retryable), (Some(secs(9)), true));
}

#[test]
fn a_step_says_which_of_its_errors_are_terminal() {
    async fn with_context(known: Value, context: StepContext) -> StepResult<u32> {
        use anyhow::Context;
        Ok(assess(known, context).await.context("while assessing")?)
    }
    async fn in_a_transaction(known: Value, _: &Transaction, context: StepContext) -> Result<u32, LoanError> {
        assess(known, context).await
    }
    let is_unknown = |error: &LoanError| matches!(error, LoanError::Unknown);
    for step in [Step::new("a", assess), Step::new("a", with_context)] {
        let workflow = triggered().step(step.output("score").terminal_if(is_unknown)).build().unwrap();
        let handler = workflow.handler("a").unwrap();
        assert!(!call(handler, json!(null)).unwrap_err().retryable);
        assert!(call(handler, json!({})).unwrap_err().retryable);
    }
    let step = Step::new("a", transactional(in_a_transaction)).output("score").terminal_if(is_unknown);
    let workflow = triggered().step(step).build().unwrap();
    let handler = workflow.transactional_handler("a").unwrap();
    let failure = |input| handler.call(input, &Transaction(7), context()).now_or_never().unwrap().unwrap_err();
    assert!(!failure(json!(null)).retryable && failure(json!({})).retryable);
}

#[derive(Debug, Deserialize)]
struct Nothing;

#[test]
fn a_step_that_wants_nothing_is_given_nothing() {
    async fn unit(_: (), context: StepContext) -> StepResult<u32> {
        Ok(context.attempt)
    }
    async fn unit_struct(_: Nothing, context: StepContext) -> StepResult<u32> {
        Ok(context.attempt)
    }
    async fn release(_: Compensation<(), ()>, _: StepContext) -> StepResult<()> {
        Ok(())
    }
    for input in [json!({}), json!({"order": {"id": 7}}), json!(null)] {
        assert_eq!(run(Step::new("a", unit).output("n"), input.clone()).unwrap().value, json!(2));
        assert_eq!(run(Step::new("a", unit_struct).output("n"), input).unwrap().value, json!(2));
    }
    let workflow = triggered().step(Step::new("a", unit).output("n").compensate(release)).build().unwrap();
    let given = json!({"payload": {}, "context": {}, "input": {"a": 1}, "output": {"n": 2}, "failure": {}});
    assert_eq!(call(workflow.compensation("a").unwrap(), given).unwrap().value, json!(null));
}

#[test]
fn a_failure_keeps_everything_through_storage() {
    let error = StepError::retryable("busy").kind("http_503").details(json!({"after": 3})).retry_after(secs(3));
    let read: StepError = serde_json::from_value(serde_json::to_value(&error).unwrap()).unwrap();
    assert_eq!(read, error);
}

#[test]
fn a_failure_is_small_enough_to_be_returned_by_value() {
    // The size of a JSON value depends on the features that other crates of the host turn on.
    let without_details = size_of::<StepError>() - size_of::<Option<Value>>();
    assert!(without_details <= 96, "{without_details}");
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

/// Stands in for the transaction of a database.
struct Transaction(u32);

async fn in_transaction(order: Order, transaction: &Transaction, context: StepContext) -> StepResult<Value> {
    Ok(json!([order.id, transaction.0, context.attempt]))
}

struct Booking;

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
        assert_eq!((error.kind.clone(), error.retryable), (FailureKind::TRANSACTION, false));
    }
}

#[test]
fn a_built_in_step_has_no_handler() {
    let workflow = triggered().step(Step::new("a", squidmesh_core::wait(secs(1)))).build().unwrap();
    assert!(workflow.handler("a").is_none() && workflow.handler("b").is_none());
}
