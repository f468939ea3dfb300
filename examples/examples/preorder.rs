//! A workflow with its tests, in one file, to copy and begin with. `cargo run -p squidmesh-examples --example preorder`
//! lets five days pass in no real time.
//!
//! Instruments that are built to order: a person approves the order within two days, building takes three, and then
//! the customer's bank is charged, with retries. No database, no async runtime and no waiting: the tests below run in
//! memory, on a clock that moves only when a test moves it. A service uses `SeaOrmStore` in place of `MemoryStore`
//! and `TokioExecutor` in place of `MemoryExecutor`; the workflow stays as it is.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{
    COMPLETE, DefinitionErrors, Handler, Retry, Squidmesh, Step, StepContext, StepError, StepResult, Trigger, Workflow,
    approval, hours, minutes, secs, wait,
};

/// A customer's order: the payload.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Preorder {
    order_id: String,
    customer: String,
    instrument: String,
    amount_cents: u64,
}

/// The workflow's outside dependency. A trait, so that a test can be the bank.
#[async_trait]
trait Bank: Send + Sync + 'static {
    /// Charges the customer, once for each key however often it is called; returns the bank's own number of the
    /// payment.
    async fn charge(&self, key: &str, customer: &str, amount_cents: u64) -> Result<String, BankError>;
}

#[derive(Debug, thiserror::Error)]
enum BankError {
    #[error("the bank is closed")]
    Closed,
    #[error("there is no account of {customer}")]
    NoAccount { customer: String },
}

/// The workflow. `build` returns all of its errors at once, when the program starts.
fn preorder(bank: Arc<dyn Bank>) -> Result<Workflow, DefinitionErrors> {
    Workflow::builder("preorder")
        .trigger(Trigger::manual("ordered").payload::<Preorder>())
        .step(Step::new("review", approval().deadline(hours(48))).output("review"))
        .step(Step::new("build", wait(hours(72))))
        .step(
            Step::new("charge", Charge { bank })
                .output("payment")
                .retry(Retry::exponential(6, minutes(1)..hours(1)))
                .timeout(secs(30))
                .irreversible(),
        )
        .step(Step::new("decline", decline).output("letter"))
        .then("review", "build")
        .then("build", "charge")
        .then("charge", COMPLETE)
        .on_error("review", "decline") // rejected, or not decided in time
        .then("decline", COMPLETE)
        .build()
}

/// A step with a field of its own: a type.
struct Charge {
    bank: Arc<dyn Bank>,
}

#[derive(Serialize)]
struct Payment {
    number: String,
}

impl Handler for Charge {
    type Input = Preorder;
    type Output = Payment;

    async fn run(&self, order: Preorder, context: StepContext) -> StepResult<Payment> {
        // The key is the same at every attempt, since a worker may die after the bank has paid and before the outcome
        // is recorded; and the same in a run that resumes this one.
        let key = format!("{}/{}", order.order_id, context.step);
        match self.bank.charge(&key, &order.customer, order.amount_cents).await {
            Err(error @ BankError::NoAccount { .. }) => Err(StepError::terminal(error.to_string()).kind("no_account")),
            other => Ok(Payment { number: other? }), // `?`: worth another attempt
        }
    }
}

/// The input of the step `decline`: the customer from the payload, and the output of the step `review`.
#[derive(Deserialize)]
struct Declined {
    customer: String,
    review: Review,
}

#[derive(Deserialize)]
struct Review {
    decision: String,
    comment: Option<String>,
}

/// A step without any state: a function.
async fn decline(Declined { customer, review }: Declined, _: StepContext) -> StepResult<String> {
    let reason = match (review.decision.as_str(), review.comment) {
        ("rejected", Some(comment)) => comment,
        _ => "we could not decide in time".to_owned(),
    };
    Ok(format!("Dear {customer}, we cannot take your order: {reason}."))
}

/// Creates a runtime in memory, on a clock that stands still until it is moved.
fn in_memory(bank: Arc<dyn Bank>) -> Result<(Squidmesh, MemoryExecutor), Box<dyn Error>> {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let mesh =
        Squidmesh::builder(MemoryStore::new(clock)).executor(executor.clone()).workflow(preorder(bank)?).build()?;
    Ok((mesh, executor))
}

/// A bank that is closed for the first few calls, and has no customer named Nobody.
#[derive(Default)]
struct MoodyBank {
    closed_for: u32,
    calls: AtomicU32,
}

#[async_trait]
impl Bank for MoodyBank {
    async fn charge(&self, key: &str, customer: &str, _: u64) -> Result<String, BankError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match customer {
            "Nobody" => Err(BankError::NoAccount { customer: customer.to_owned() }),
            _ if call <= self.closed_for => Err(BankError::Closed),
            _ => Ok(format!("call {call} for {key}")),
        }
    }
}

fn sextant(order_id: &str, customer: &str) -> Preorder {
    let (order_id, customer, instrument) = (order_id.to_owned(), customer.to_owned(), "sextant".to_owned());
    Preorder { order_id, customer, instrument, amount_cents: 24_995 }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mesh, executor) = in_memory(Arc::new(MoodyBank { closed_for: 2, ..MoodyBank::default() }))?;
    let order = sextant("A-17", "Ada");
    let run = block_on(mesh.start_run("preorder", &order))?;

    block_on(executor.drain(&mesh))?;
    let why = block_on(mesh.explain_run(run.id))?;
    println!("{:?} at {:?}, until {:?}; now could: {:?}", why.reason, why.step, why.at, why.actions);

    block_on(mesh.approve_run(run.id).actor("grace").comment("a good customer"))?;
    block_on(executor.run_to_rest(&mesh))?;
    let details = block_on(mesh.inspect_run(run.id))?;
    println!("{} at {:?}: {}", details.run.status, details.run.finished_at, serde_json::Value::Object(details.context));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use std::time::{Duration, Instant};

    use squidmesh_core::command::{CommandError, CommandRefused};
    use squidmesh_core::inspect::{NextAction, Reason, RunDetails};
    use squidmesh_core::port::Clock;
    use squidmesh_core::run::AuditKind;
    use squidmesh_core::{RunId, RunStatus, Timestamp};

    use super::*;

    /// A runtime with one order that waits for its review.
    struct Fixture {
        mesh: Squidmesh,
        executor: MemoryExecutor,
        bank: Arc<MoodyBank>,
        run: RunId,
    }

    impl Fixture {
        fn ordered_by(customer: &str, bank: MoodyBank) -> Fixture {
            let bank = Arc::new(bank);
            let (mesh, executor) = in_memory(bank.clone()).unwrap();
            let order = sextant("A-17", customer);
            let run = block_on(mesh.start_run("preorder", &order)).unwrap().id;
            block_on(executor.drain(&mesh)).unwrap(); // what is due now; the deadline is not
            Fixture { mesh, executor, bank, run }
        }

        fn approve(&self) {
            block_on(self.mesh.approve_run(self.run).actor("grace")).unwrap();
        }

        /// Lets time pass until no work is left, and returns the details of the run.
        fn to_its_end(&self) -> RunDetails {
            block_on(self.executor.run_to_rest(&self.mesh)).unwrap();
            block_on(self.mesh.inspect_run(self.run)).unwrap()
        }

        fn now(&self) -> Timestamp {
            self.executor.manual_clock().now()
        }
    }

    #[test]
    fn an_approved_order_is_built_for_three_days_and_paid() {
        let begun = Instant::now();
        let shop = Fixture::ordered_by("Ada", MoodyBank::default());
        let ordered = shop.now();
        shop.approve();
        let details = shop.to_its_end();

        assert_eq!(details.run.status, RunStatus::Completed);
        assert_eq!(details.context["payment"]["number"], "call 1 for A-17/charge");
        assert_eq!(shop.now().since(ordered), hours(72));
        assert!(begun.elapsed() < Duration::from_secs(1), "three days took {:?}", begun.elapsed());
    }

    #[test]
    fn a_bank_that_is_closed_is_asked_again() {
        let shop = Fixture::ordered_by("Ada", MoodyBank { closed_for: 5, ..MoodyBank::default() });
        let ordered = shop.now();
        shop.approve();
        let details = shop.to_its_end();

        assert_eq!(details.run.status, RunStatus::Completed);
        let charge = details.steps.iter().find(|step| step.name == "charge").unwrap();
        assert_eq!(charge.attempts.len(), 6);
        // The delay doubles: 1, 2, 4, 8 and 16 minutes.
        assert_eq!(shop.now().since(ordered), hours(72) + minutes(31));
    }

    #[test]
    fn a_bank_that_stays_closed_fails_the_run_and_an_operator_resumes_it() {
        let shop = Fixture::ordered_by("Ada", MoodyBank { closed_for: 6, ..MoodyBank::default() });
        shop.approve();
        let failed = shop.to_its_end();
        assert_eq!(failed.run.status, RunStatus::Failed);
        assert_eq!(failed.run.last_error.unwrap().message, "the bank is closed");
        let why = block_on(shop.mesh.explain_run(shop.run)).unwrap();
        assert_eq!(why.reason, Reason::RetryExhausted);

        // The charge is irreversible and was attempted: retrying it is a person's decision. Nothing is reviewed or
        // built again.
        assert!(why.actions.contains(&NextAction::ResumeAllowingIrreversible), "{:?}", why.actions);
        let resumed = shop.mesh.resume_run(shop.run).allow_irreversible().actor("grace");
        let resumed = block_on(resumed).unwrap();
        block_on(shop.executor.run_to_rest(&shop.mesh)).unwrap();
        let details = block_on(shop.mesh.inspect_run(resumed.id)).unwrap();
        assert_eq!(details.run.status, RunStatus::Completed);
        assert_eq!(details.context["payment"]["number"], "call 7 for A-17/charge");
    }

    #[test]
    fn an_account_that_does_not_exist_is_asked_for_once() {
        let shop = Fixture::ordered_by("Nobody", MoodyBank::default());
        shop.approve();
        let details = shop.to_its_end();

        assert_eq!(details.run.status, RunStatus::Failed);
        assert_eq!(details.run.last_error.unwrap().kind, "no_account");
        assert_eq!(shop.bank.calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_rejected_order_is_declined_in_writing_and_never_charged() {
        let shop = Fixture::ordered_by("Ada", MoodyBank::default());
        let reject = shop.mesh.reject_run(shop.run).actor("grace").comment("sextants are sold out");
        block_on(reject).unwrap();
        let details = shop.to_its_end();

        assert_eq!(details.run.status, RunStatus::Completed);
        assert_eq!(details.context["letter"], "Dear Ada, we cannot take your order: sextants are sold out.");
        assert_eq!(shop.bank.calls.load(Ordering::Relaxed), 0);
        let decision = details.audit.iter().find(|event| event.kind == AuditKind::Rejected).unwrap();
        assert_eq!(decision.actor.as_deref(), Some("grace"));
        // A second decision comes too late, and is refused.
        let late = block_on(shop.mesh.approve_run(shop.run).actor("ada"));
        assert!(matches!(late, Err(CommandError::Refused(CommandRefused::InvalidTransition(_)))), "{late:?}");
    }

    #[test]
    fn an_order_that_nobody_decides_on_is_declined_after_two_days() {
        let shop = Fixture::ordered_by("Ada", MoodyBank::default());
        let ordered = shop.now();
        let why = block_on(shop.mesh.explain_run(shop.run)).unwrap();
        assert_eq!((why.reason, why.at), (Reason::PausedForApproval, Some(ordered.after(hours(48)))));
        assert!(why.actions.contains(&NextAction::Approve) && why.actions.contains(&NextAction::Reject));

        let details = shop.to_its_end();
        assert_eq!(details.context["letter"], "Dear Ada, we cannot take your order: we could not decide in time.");
        assert_eq!(shop.now().since(ordered), hours(48));
        assert!(details.audit.iter().any(|event| event.kind == AuditKind::Expired && event.actor.is_none()));
    }
}
