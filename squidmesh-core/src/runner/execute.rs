//! Executing a step: the input and context of its handler, and what the handler's result means for the step.

use std::any::Any;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::bounded::Ended;
use super::shared::Runner;
use crate::cancellation::{CancelReason, Cancellation};
use crate::definition::{LogLevel, StepDefinition, StepKind};
use crate::dispatch::Lease;
use crate::engine::{CompensationTask, Outcome, StepTask};
use crate::handler::{ErasedTransactional, HandlerOutput, Heartbeat, StepContext, StepError};
use crate::name::StepName;
use crate::port::LeaseState;
use crate::run::{Failure, FailureKind, Run};

impl Runner {
    /// Executes the handler of a step.
    pub(super) async fn execute(&self, run: &Run, task: &StepTask, cancellation: &Cancellation) -> Outcome {
        let workflow = self.runtime.registry.version(&run.fingerprint);
        let Some((workflow, definition)) =
            workflow.and_then(|found| Some((found, found.definition().step(task.step.as_str())?)))
        else {
            return Outcome::Interrupted;
        };
        if let StepKind::Log { message, level } = &definition.kind {
            log(run, definition, message, *level);
            return Outcome::Completed { value: Value::Null, schedule_in: None, route: None };
        }
        let Some(handler) = workflow.handler(task.step.as_str()) else { return Outcome::Interrupted };
        let mut context = step_context(run, task, cancellation);
        context.heartbeat = self.heartbeat(&task.lease, cancellation);
        let input = Value::Object((*task.input).clone());
        let (span, timeout) = (step_span(run, task), definition.timeout);
        let ended = self.bounded(|| handler.call(input, context), span, timeout, cancellation).await;
        outcome(ended, definition, cancellation)
    }

    /// Executes the handler of a transactional step in its transaction. The heartbeat in its context does nothing: on
    /// some databases it would have to wait for this transaction.
    pub(super) async fn execute_in(
        &self,
        transaction: &(dyn Any + Send + Sync),
        handler: &dyn ErasedTransactional,
        run: &Run,
        task: &StepTask,
        cancellation: &Cancellation,
    ) -> Outcome {
        let workflow = self.runtime.registry.version(&run.fingerprint);
        let Some(definition) = workflow.and_then(|found| found.definition().step(task.step.as_str())) else {
            return Outcome::Interrupted;
        };
        let context = step_context(run, task, cancellation);
        let input = Value::Object((*task.input).clone());
        let (span, timeout) = (step_span(run, task), definition.timeout);
        let ended = self.bounded(|| handler.call(input, transaction, context), span, timeout, cancellation).await;
        outcome(ended, definition, cancellation)
    }

    /// Executes the compensation callback of a step.
    pub(super) async fn execute_compensation(
        &self,
        run: &Run,
        task: &CompensationTask,
        cancellation: &Cancellation,
    ) -> Outcome {
        let found = self.runtime.registry.version(&run.fingerprint).and_then(|workflow| {
            let definition = workflow.definition().step(task.step.as_str())?;
            Some((definition, workflow.compensation(task.step.as_str())?))
        });
        let Some((definition, handler)) = found else { return Outcome::Interrupted };
        let mut context = context(run, &task.step, task.attempt, task.context.clone(), cancellation);
        context.heartbeat = self.heartbeat(&task.lease, cancellation);
        let output = match &definition.output {
            Some(key) => task.output.get(key).cloned().unwrap_or_default(),
            None => Value::Object((*task.output).clone()),
        };
        let input = serde_json::json!({
            "payload": task.payload,
            "context": task.context,
            "input": task.input,
            "output": output,
            "failure": task.failure,
        });
        let span = tracing::info_span!(
            target: "squidmesh",
            "compensation",
            run_id = %run.id,
            workflow = %run.workflow,
            step = %task.step,
            attempt = task.attempt,
        );
        let timeout = definition.timeout;
        let ended = self.bounded(|| handler.call(input, context), span, timeout, cancellation).await;
        if let Ended::TimedOut = ended {
            let message = format!("the compensation did not end within {:?}", definition.timeout.unwrap_or_default());
            return retryable(Failure::new(FailureKind::TIMEOUT, message));
        }
        match outcome(ended, definition, cancellation) {
            Outcome::Completed { value, .. } => Outcome::Completed { value, schedule_in: None, route: None },
            other => other,
        }
    }

    /// Returns a heartbeat that extends the lease and returns whether it is still held.
    fn heartbeat(&self, lease: &Lease, cancellation: &Cancellation) -> Heartbeat {
        let (runtime, lease, signal) = (self.runtime.clone(), lease.clone(), cancellation.clone());
        Heartbeat::renewing(cancellation.clone(), move || {
            let (runtime, lease, signal) = (runtime.clone(), lease.clone(), signal.clone());
            async move {
                // A failing store has not taken the lease away: the fence decides when the outcome is recorded.
                let Ok(states) = runtime.store.extend_leases(&[lease], runtime.config.lease).await else { return true };
                let state = states.first().copied().unwrap_or(LeaseState::Lost);
                if state.is_cancelled() {
                    signal.cancel(CancelReason::RunCancelled);
                }
                state.is_held()
            }
        })
    }
}

/// Returns the context that a handler receives about its attempt.
fn step_context(run: &Run, task: &StepTask, cancellation: &Cancellation) -> StepContext {
    let mut context = context(run, &task.step, task.attempt, task.visible.clone(), cancellation);
    context.failure = task.failure.as_deref().cloned();
    context
}

fn context(
    run: &Run,
    step: &StepName,
    attempt: u32,
    state: Arc<Map<String, Value>>,
    cancellation: &Cancellation,
) -> StepContext {
    let (workflow, cancellation) = (run.workflow.clone(), cancellation.clone());
    let mut context = StepContext::new(run.id, workflow, step.clone(), attempt, state, cancellation);
    context.intended_at = run.intended_at;
    context
}

/// Returns the span of the host's logs within a handler.
fn step_span(run: &Run, task: &StepTask) -> tracing::Span {
    tracing::info_span!(
        target: "squidmesh",
        "step",
        run_id = %run.id,
        workflow = %run.workflow,
        step = %task.step,
        attempt = task.attempt,
    )
}

/// Maps the end of a handler to the outcome of its step.
fn outcome(
    ended: Ended<Result<HandlerOutput, StepError>>,
    definition: &StepDefinition,
    cancellation: &Cancellation,
) -> Outcome {
    match ended {
        Ended::Returned(Ok(HandlerOutput { value, schedule_in, route })) => {
            Outcome::Completed { value, schedule_in, route }
        }
        // The handler stopped on request: another worker continues the step, and no attempt counts.
        Ended::Returned(Err(error)) if error.retryable && cancellation.was_seen(CancelReason::ShuttingDown) => {
            Outcome::Interrupted
        }
        Ended::Returned(Err(error)) => failed(&error),
        Ended::Panicked(panic) => {
            retryable(Failure::new(FailureKind::PANIC, format!("the step handler panicked: {panic}")))
        }
        Ended::TimedOut => {
            let message = format!("the step did not end within {:?}", definition.timeout.unwrap_or_default());
            retryable(Failure::new(FailureKind::TIMEOUT, message))
        }
        Ended::Interrupted => Outcome::Interrupted,
    }
}

fn failed(error: &StepError) -> Outcome {
    Outcome::Failed { failure: Failure::from(error), retryable: error.retryable, retry_after: error.retry_after }
}

pub(super) fn retryable(failure: Failure) -> Outcome {
    Outcome::Failed { failure, retryable: true, retry_after: None }
}

/// Executes a log step: its message is part of the workflow, not of any payload.
fn log(run: &Run, definition: &StepDefinition, message: &str, level: LogLevel) {
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(target: "squidmesh::log", run_id = %run.id, workflow = %run.workflow, step = %definition.name, "{message}")
        };
    }
    match level {
        LogLevel::Error => at!(error),
        LogLevel::Warn => at!(warn),
        LogLevel::Info => at!(info),
        LogLevel::Debug => at!(debug),
    }
}
