//! Executing a step: the handler, bounded by its timeout, its panics caught.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::{self, Either};
use serde_json::Value;
use tracing::Instrument;

use super::Runner;
use crate::engine::{CompensationTask, Outcome, StepTask};
use crate::{
    CancelReason, Cancellation, ErasedTransactional, Failure, HandlerOutput, Heartbeat, Lease, LogLevel, Run,
    StepContext, StepDefinition, StepError, StepKind,
};

/// How an execution ended.
enum Ended<T> {
    Returned(T),
    Panicked(String),
    TimedOut,
    Interrupted,
}

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
            return Outcome::Completed { value: Value::Null, schedule_in: None };
        }
        let Some(handler) = workflow.handler(task.step.as_str()) else { return Outcome::Interrupted };
        let mut context = step_context(run, task, cancellation);
        context.heartbeat = self.heartbeat(&task.lease, cancellation);
        let call = handler.call(Value::Object((*task.input).clone()), context).instrument(step_span(run, task));
        outcome(self.bounded(call, definition.timeout, cancellation).await, definition)
    }

    /// Executes the handler of a transactional step in its transaction. The heartbeat in its context touches nothing: on some
    /// databases it would have to wait for this very transaction.
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
        let call = handler.call(input, transaction, context).instrument(step_span(run, task));
        outcome(self.bounded(call, definition.timeout, cancellation).await, definition)
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
        let state = task.context.clone();
        let mut context = StepContext::new(
            run.id,
            run.workflow.clone(),
            task.step.clone(),
            task.attempt,
            state,
            cancellation.clone(),
        );
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
        let call = handler.call(input, context).instrument(span);
        match self.bounded(call, definition.timeout, cancellation).await {
            Ended::Returned(Ok(HandlerOutput { value, .. })) => Outcome::Completed { value, schedule_in: None },
            Ended::Returned(Err(error)) => failed(&error),
            Ended::Panicked(message) => retryable(Failure::new(Failure::PANIC, message)),
            Ended::TimedOut => {
                let message =
                    format!("the compensation did not end within {:?}", definition.timeout.unwrap_or_default());
                retryable(Failure::new(Failure::TIMEOUT, message))
            }
            Ended::Interrupted => Outcome::Interrupted,
        }
    }

    /// A heartbeat that asks the store whether the lease still holds, and extends it.
    fn heartbeat(&self, lease: &Lease, cancellation: &Cancellation) -> Heartbeat {
        let (runtime, lease) = (self.runtime.clone(), lease.clone());
        Heartbeat::renewing(cancellation.clone(), move || {
            let (runtime, lease) = (runtime.clone(), lease.clone());
            async move {
                let kept = runtime.store.extend(&[lease], runtime.config.lease).await;
                // A store that cannot tell now has not taken the lease away: the fence decides when the outcome is recorded.
                kept.map_or(true, |kept| kept.first().copied().unwrap_or(false))
            }
        })
    }

    /// Runs a handler to its end, its timeout, or the end of this worker's patience, whichever is first. A handler that is
    /// cut off is told through its cancellation before it is dropped.
    async fn bounded<T>(
        &self,
        call: impl Future<Output = T>,
        timeout: Option<std::time::Duration>,
        cancellation: &Cancellation,
    ) -> Ended<T> {
        let call = pin!(AssertUnwindSafe(call).catch_unwind());
        let timer = async {
            match timeout {
                Some(timeout) => self.runtime.clock.sleep(timeout).await,
                None => future::pending().await,
            }
        };
        let (timer, interrupted) = (pin!(timer), pin!(self.interrupted.cancelled()));
        match future::select(call, future::select(timer, interrupted)).await {
            Either::Left((Ok(returned), _)) => Ended::Returned(returned),
            Either::Left((Err(panic), _)) => Ended::Panicked(panic_message(&*panic)),
            Either::Right((Either::Left(_), _)) => {
                cancellation.cancel(CancelReason::TimedOut);
                Ended::TimedOut
            }
            Either::Right((Either::Right(_), _)) => {
                cancellation.cancel(CancelReason::ShuttingDown);
                Ended::Interrupted
            }
        }
    }
}

/// What a handler is told about the attempt.
fn step_context(run: &Run, task: &StepTask, cancellation: &Cancellation) -> StepContext {
    let (workflow, step, state) = (run.workflow.clone(), task.step.clone(), task.visible.clone());
    let mut context = StepContext::new(run.id, workflow, step, task.attempt, state, cancellation.clone());
    context.intended_at = run.intended_at;
    context
}

/// The span that the host's logs within a handler carry.
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

/// What the end of a handler means for its step.
fn outcome(ended: Ended<Result<HandlerOutput, StepError>>, definition: &StepDefinition) -> Outcome {
    match ended {
        Ended::Returned(Ok(HandlerOutput { value, schedule_in })) => Outcome::Completed { value, schedule_in },
        Ended::Returned(Err(error)) => failed(&error),
        Ended::Panicked(message) => retryable(Failure::new(Failure::PANIC, message)),
        Ended::TimedOut => {
            let message = format!("the step did not end within {:?}", definition.timeout.unwrap_or_default());
            retryable(Failure::new(Failure::TIMEOUT, message))
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

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the step handler panicked: {}", text.unwrap_or("(no message)"))
}

/// A log step: its message is part of the workflow, not of any payload.
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
