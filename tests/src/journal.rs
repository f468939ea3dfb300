//! The calls of handlers, for scenarios that check them afterwards.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use squidmesh_core::{RunId, Step, StepContext, StepResult, Timestamp};

/// One call of a handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub run_id: RunId,
    pub step: String,
    pub attempt: u32,
    pub intended_at: Option<Timestamp>,
    pub input: Value,
    pub state: Map<String, Value>,
}

/// Every call, in the order of arrival.
#[derive(Debug, Default)]
pub struct Journal {
    calls: Mutex<Vec<Call>>,
}

impl Journal {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the steps that were called, in order.
    pub fn steps(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.step).collect()
    }

    /// Returns the steps of a run that were called, in order.
    pub fn steps_of(&self, run: RunId) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.run_id == run).map(|call| call.step).collect()
    }

    /// Returns the calls of one step.
    pub fn of(&self, step: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.step == step).collect()
    }

    /// Returns a step that is recorded here and answers at once.
    pub fn step(
        self: &Arc<Self>,
        name: &str,
        answer: impl Fn(&Call) -> StepResult<Value> + Send + Sync + 'static,
    ) -> Step {
        let journal = self.clone();
        Step::new(name, move |input: Value, context: StepContext| {
            let answer = answer(&journal.note(input, &context));
            async move { answer }
        })
    }

    /// Returns a step that is recorded here and then does something that takes time.
    pub fn slow_step<F>(
        self: &Arc<Self>,
        name: &str,
        answer: impl Fn(Call, StepContext) -> F + Send + Sync + 'static,
    ) -> Step
    where
        F: Future<Output = StepResult<Value>> + Send + 'static,
    {
        let journal = self.clone();
        Step::new(name, move |input: Value, context: StepContext| answer(journal.note(input, &context), context))
    }

    fn note(&self, input: Value, context: &StepContext) -> Call {
        let call = Call {
            run_id: context.run_id,
            step: context.step.to_string(),
            attempt: context.attempt,
            intended_at: context.intended_at,
            input,
            state: (*context.state).clone(),
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        call
    }
}
