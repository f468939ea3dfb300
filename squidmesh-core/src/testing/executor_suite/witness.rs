//! The executions of a case's steps, observed inside their handlers, and a gate that holds them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use event_listener::Event;
use serde_json::{Value, json};

use crate::cancellation::{CancelReason, Cancellation};
use crate::handler::{StepContext, StepError, StepResult};
use crate::id::RunId;
use crate::name::StepName;
use crate::testing::limit::awaiting;
use crate::workflow::Step;

/// Counts the executions of every step, and can hold chosen steps at a gate. Clones share everything.
#[derive(Clone, Default)]
pub(super) struct Witness {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    executions: Mutex<BTreeMap<(RunId, StepName), u32>>,
    seen: Event,
    gate: Cancellation,
}

impl Witness {
    /// Returns a step that completes at once.
    pub(super) fn step(&self, name: &str) -> Step {
        let witness = self.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            let witness = witness.clone();
            async move { witness.note(&context) }
        })
    }

    /// Returns a step that waits at the gate until it is opened.
    pub(super) fn gated(&self, name: &str) -> Step {
        let witness = self.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            let witness = witness.clone();
            async move {
                let done = witness.note(&context);
                witness.shared.gate.cancelled().await;
                done
            }
        })
    }

    /// Returns a step whose first attempt never ends.
    pub(super) fn stuck_once(&self, name: &str) -> Step {
        let witness = self.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            let witness = witness.clone();
            async move {
                let done = witness.note(&context);
                if context.attempt == 1 {
                    futures_util::future::pending::<()>().await;
                }
                done
            }
        })
    }

    /// Returns a step whose first attempt fails.
    pub(super) fn failing_once(&self, name: &str) -> Step {
        let witness = self.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            let witness = witness.clone();
            async move {
                let done = witness.note(&context);
                if context.attempt == 1 { Err(StepError::retryable("the first attempt fails")) } else { done }
            }
        })
    }

    /// Opens the gate to every step, now and later.
    pub(super) fn open_gate(&self) {
        self.shared.gate.cancel(CancelReason::TimedOut);
    }

    /// Returns the total number of executions.
    pub(super) fn executions(&self) -> u32 {
        self.shared.executions.lock().unwrap().values().sum()
    }

    /// Returns the number of executions of each step that was executed.
    pub(super) fn each(&self) -> Vec<u32> {
        self.shared.executions.lock().unwrap().values().copied().collect()
    }

    /// Waits until there were at least `executions` executions in all.
    pub(super) async fn seen(&self, executions: u32) {
        awaiting(format!("execution {executions} of the case's steps: due work is not delivered"));
        loop {
            let seen = self.shared.seen.listen();
            if self.executions() >= executions {
                return;
            }
            seen.await;
        }
    }

    fn note(&self, context: &StepContext) -> StepResult<Value> {
        let key = (context.run_id, context.step.clone());
        *self.shared.executions.lock().unwrap().entry(key).or_default() += 1;
        self.shared.seen.notify(usize::MAX);
        Ok(json!({}))
    }
}
