//! How a host tests a workflow: in memory, on a clock that moves when it is told to. No database, no async runtime, no waiting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{
    COMPLETE, Clock, DefinitionErrors, Field, Retry, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult,
    Trigger, Workflow, hours, minutes, wait,
};

/// A trial of three days, then the first payment, which may be tried six times in all.
fn trial(bank: Arc<Bank>) -> Result<Workflow, DefinitionErrors> {
    let charge = move |customer: Value, _: StepContext| {
        let bank = Arc::clone(&bank);
        async move { bank.charge(&customer) }
    };
    Workflow::builder("trial")
        .trigger(Trigger::manual("signed_up").field(Field::string("customer")))
        .step(Step::new("trial_time", wait(hours(72))))
        .step(Step::new("charge", charge).output("payment").retry(Retry::exponential(6, minutes(1)..hours(1))))
        .then("trial_time", "charge")
        .then("charge", COMPLETE)
        .build()
}

/// A bank that is closed for the first few calls.
struct Bank {
    closed_for: u32,
    calls: AtomicU32,
}

impl Bank {
    fn charge(&self, customer: &Value) -> StepResult<Value> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call <= self.closed_for {
            return Err(StepError::retryable("the bank is closed"));
        }
        Ok(json!({ "from": customer.get("customer"), "at_call": call }))
    }
}

/// Runs a trial to its end; gives the runtime's view of it, and how much time has passed on the clock.
fn run_trial(bank: &Arc<Bank>) -> (squidmesh_core::RunDetails, Duration) {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let mesh = Squidmesh::builder(MemoryStore::new(clock.clone()))
        .executor(executor.clone())
        .workflow(trial(Arc::clone(bank)).unwrap())
        .build()
        .unwrap();
    let begun = clock.now();
    let run = block_on(mesh.start_run("trial", &json!({ "customer": "ada" })).into_future()).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    (block_on(mesh.inspect_run(run.id)).unwrap(), clock.now().since(begun))
}

#[test]
fn three_days_and_five_retries_pass_in_no_time() {
    let begun = Instant::now();
    let bank = Arc::new(Bank { closed_for: 5, calls: AtomicU32::new(0) });
    let (details, passed) = run_trial(&bank);

    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(details.context["payment"], json!({ "from": "ada", "at_call": 6 }));
    let attempts: Vec<u32> = details.steps[1].attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6]);
    // The backoff doubles: 1, 2, 4, 8 and 16 minutes after the three days.
    assert_eq!(passed, hours(72) + minutes(31));
    assert!(begun.elapsed() < Duration::from_secs(1), "no time at all, but {:?}", begun.elapsed());
}

#[test]
fn a_bank_that_never_opens_fails_the_trial_after_six_calls() {
    let bank = Arc::new(Bank { closed_for: u32::MAX, calls: AtomicU32::new(0) });
    let (details, _) = run_trial(&bank);

    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(details.run.last_error.unwrap().message, "the bank is closed");
    assert_eq!(bank.calls.load(Ordering::Relaxed), 6);
}
