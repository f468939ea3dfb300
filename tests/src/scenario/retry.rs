//! Failures and retries.

use std::fmt;
use std::sync::Arc;

use serde_json::json;
use squidmesh_core::event::EventKind;
use squidmesh_core::run::FailureKind;
use squidmesh_core::workflow::CancelReason;
use squidmesh_core::{COMPLETE, Retry, RunStatus, StepError, ms, secs};

use super::{nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate, Journal};

pub async fn a_failed_step_is_retried_until_it_succeeds(backend: &Backend) {
    let journal = Journal::new();
    let flaky = workflow("flaky")
        .step(
            journal
                .step("shaky", |call| match call.attempt {
                    1 | 2 => Err(StepError::retryable("the gateway is busy").kind("busy")),
                    attempt => Ok(json!({ "attempt": attempt })),
                })
                .retry(Retry::exponential(5, ms(20)..ms(100))),
        )
        .then("shaky", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([flaky]);
    let run = world.start_run("flaky", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(attempts(&details, "shaky"), ["failed", "failed", "completed"]);
    assert_eq!(details.run.last_error, None);
    assert_eq!(details.context.get("attempt"), Some(&json!(3)));
    let tries = &step(&details, "shaky").attempts;
    assert_eq!(tries[0].error.as_ref().unwrap().kind, "busy");
    for (pair, delay) in tries.windows(2).zip([ms(20), ms(40)]) {
        let waited = pair[1].started_at.since(pair[0].finished_at.unwrap());
        assert!(waited >= delay, "attempt {} came {waited:?} after the one before, not {delay:?}", pair[1].number);
    }
    let delays: Vec<_> = world
        .sink
        .of_run(run.id)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::StepRetryScheduled { delay, .. } => Some(delay),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [ms(20), ms(40)]);
    let inputs: Vec<_> = journal.calls().into_iter().map(|call| call.input).collect();
    assert!(inputs.iter().all(|input| *input == inputs[0]), "every attempt is given the same input");
}

#[derive(Debug)]
struct Outer(Inner);
#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order was not paid")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bank did not answer")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl std::error::Error for Inner {}

pub async fn used_up_attempts_fail_the_run_with_the_last_error(backend: &Backend) {
    let journal = Journal::new();
    let hopeless = workflow("hopeless")
        .step(journal.step("never", |_| Err(Outer(Inner))?).retry(Retry::fixed(3, ms(5))))
        .step(journal.step("after", super::done))
        .then("never", "after")
        .then("after", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([hopeless]);
    let run = world.start_run("hopeless", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(attempts(&details, "never"), ["failed", "failed", "failed"]);
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("error", "the order was not paid"));
    assert_eq!(error.chain, ["the bank did not answer"], "the chain of sources is kept");
    assert_eq!(error.step.as_ref().unwrap().as_str(), "never");
    assert!(journal.of("after").is_empty());
}

pub async fn a_terminal_failure_is_not_retried(backend: &Backend) {
    let journal = Journal::new();
    let declined = workflow("declined")
        .step(
            journal
                .step("pay", |_| Err(StepError::terminal("declined").kind("declined").details(json!({"code": 51}))))
                .retry(Retry::fixed(9, ms(1))),
        )
        .then("pay", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([declined]);
    let run = world.start_run("declined", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(attempts(&details, "pay"), ["failed"]);
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.details.as_ref()), ("declined", Some(&json!({"code": 51}))));
}

pub async fn an_error_may_say_when_to_try_again(backend: &Backend) {
    let journal = Journal::new();
    let asking = workflow("asking")
        .step(
            journal
                .step("busy", |call| match call.attempt {
                    1 => Err(StepError::retryable("busy").retry_after(ms(150))),
                    _ => Ok(json!({})),
                })
                .retry(Retry::fixed(2, ms(1))),
        )
        .then("busy", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([asking]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let tries = &step(&details, "busy").attempts;
    assert!(tries[1].started_at.since(tries[0].finished_at.unwrap()) >= ms(150));
}

pub async fn a_panic_is_a_failed_attempt(backend: &Backend) {
    let journal = Journal::new();
    let panicking = workflow("panicking")
        .step(
            journal
                .slow_step("jumpy", |call, _| async move {
                    assert!(call.attempt > 1, "not the first time");
                    Ok(json!({}))
                })
                .retry(Retry::fixed(2, ms(1))),
        )
        .then("jumpy", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([panicking]);
    let run = world.start_run("panicking", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(attempts(&details, "jumpy"), ["failed", "completed"]);
    let error = step(&details, "jumpy").attempts[0].error.clone().unwrap();
    assert_eq!(error.kind, FailureKind::PANIC);
    assert!(error.message.contains("not the first time"), "{}", error.message);
}

pub async fn a_panic_before_the_first_await_is_a_failed_attempt_too(backend: &Backend) {
    let journal = Journal::new();
    let panicking = workflow("panicking")
        .step(journal.step("jumpy", |_| panic!("at once")).retry(Retry::never()))
        .then("jumpy", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([panicking]);
    let run = world.start_run("panicking", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.last_error.as_ref().unwrap().kind, FailureKind::PANIC);
}

pub async fn a_step_that_times_out_is_notified_and_retried(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let notices = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (stuck, noticed) = (gate.clone(), notices.clone());
    let slow = workflow("slow")
        .step(
            journal
                .slow_step("stuck", move |call, context| {
                    let (gate, noticed) = (stuck.clone(), noticed.clone());
                    // The cancellation is observed by a task of the handler that outlives it.
                    let cancellation = context.cancellation.clone();
                    tokio::spawn(async move {
                        let reason = cancellation.cancelled().await;
                        noticed.lock().unwrap().push(reason);
                    });
                    async move {
                        if call.attempt == 1 {
                            gate.pass().await;
                        }
                        Ok(json!({}))
                    }
                })
                .timeout(ms(80))
                .retry(Retry::fixed(2, ms(1))),
        )
        .then("stuck", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([slow]);
    let run = world.start_run("slow", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(attempts(&details, "stuck"), ["failed", "completed"]);
    let first = &step(&details, "stuck").attempts[0];
    assert_eq!(first.error.as_ref().unwrap().kind, FailureKind::TIMEOUT);
    assert!(first.finished_at.unwrap().since(first.started_at) >= ms(80));
    let noticed = async {
        while notices.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(secs(5), noticed).await.expect("the handler is notified");
    assert_eq!(notices.lock().unwrap()[0], CancelReason::TimedOut);
}

pub async fn a_failure_beyond_the_limits_is_recorded_all_the_same(backend: &Backend) {
    let journal = Journal::new();
    let loud = workflow("loud")
        .step(
            journal
                .step("only", |_| {
                    let details = json!({"much": "y".repeat(3 << 20)});
                    Err(StepError::terminal(format!("nul \0 and {}", "x".repeat(3 << 20))).details(details))
                })
                .retry(Retry::never()),
        )
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([loud]);
    let run = world.start_run("loud", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    let error = details.run.last_error.as_ref().unwrap();
    assert!(error.message.len() <= 1 << 20 && !error.message.contains('\0'));
}
