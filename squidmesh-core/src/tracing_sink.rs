//! Events as log lines: the sink of every runtime.

use crate::event::{Event, EventKind};
use crate::port::EventSink;
use crate::run::{FailureKind, RunStatus};
use crate::schedule::{TriggerEvent, TriggerEventKind};

/// Logs every event with [`tracing`], under the target `squidmesh`.
///
/// At the level INFO the log shows a service at work: the start and the end of each run, retries, decisions. At ERROR it
/// shows what needs a person: a run that failed (`run.failed`, with the step and the kind of the failure) and a
/// compensation that did. A failed attempt is a WARN only if nothing follows it; one that is retried, or that an error
/// transition takes, is an INFO. The end of a run is logged as `run.completed` or `run.failed`, every other event by its
/// [name](EventKind::name).
///
/// Logs no payload, input, output or error message: of a failure only its kind. Logs the actor of a decision if the
/// host's [`Redaction`](crate::inspect::Redaction) shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

macro_rules! log {
    ($level:ident, $event:ident $(, $($fields:tt)+)?) => {
        tracing::$level!(
            target: "squidmesh",
            event = name(&$event.kind),
            run_id = %$event.run_id,
            workflow = %$event.workflow,
            trigger = %$event.trigger,
            status = %$event.status,
            current_step = $event.current_step.as_ref().map(tracing::field::display),
            $($($fields)+)?
        )
    };
}

impl EventSink for TracingSink {
    fn emit(&self, event: &Event) {
        match &event.kind {
            EventKind::RunCreated => log!(info, event),
            EventKind::RunReplayed { from } => log!(info, event, replayed_from = %from),
            EventKind::RunResumed { from } => log!(info, event, resumed_from = %from),
            EventKind::RunDispatched { metadata } => log!(
                debug,
                event,
                job_id = metadata.job_id,
                queue = %metadata.queue,
                delay_ms = metadata.schedule_in.map(millis),
            ),
            EventKind::RunTransition { to: RunStatus::Failed, failure, .. } => log!(
                error,
                event,
                step = failure.as_ref().and_then(|failure| failure.step.as_ref()).map(tracing::field::display),
                error = failure.as_ref().map(|failure| failure.kind.as_str()),
            ),
            EventKind::RunTransition { to: RunStatus::Completed, .. } => log!(info, event),
            EventKind::RunTransition { from, to: RunStatus::Cancelled, .. } => {
                log!(info, event, from = %from, to = %RunStatus::Cancelled)
            }
            EventKind::RunTransition { from, to, .. } => log!(debug, event, from = %from, to = %to),
            EventKind::StepStarted { step, attempt } => log!(debug, event, step = %step, attempt = attempt),
            EventKind::DeliveryIgnored { step, attempt, duration, reason } => log!(
                debug,
                event,
                step = step.as_ref().map(tracing::field::display),
                attempt = attempt,
                duration_ms = duration.map(millis),
                reason = reason.as_str(),
            ),
            EventKind::StepCompleted { step, attempt, duration } => {
                log!(debug, event, step = %step, attempt = attempt, duration_ms = millis(*duration))
            }
            EventKind::StepRouted { transition } => log!(
                debug,
                event,
                step = %transition.from,
                to = %transition.to,
                by = transition.guard.as_ref().map(tracing::field::display),
            ),
            EventKind::RouteUnknown { step, route, is_final: true } => log!(warn, event, step = %step, route = route),
            EventKind::RouteUnknown { step, route, .. } => log!(info, event, step = %step, route = route),
            EventKind::StepFailed { step, attempt, duration, error, is_final: true }
                if error.kind != FailureKind::CANCELLED =>
            {
                log!(
                    warn,
                    event,
                    step = %step,
                    attempt = attempt,
                    duration_ms = millis(*duration),
                    error = error.kind.as_str(),
                )
            }
            EventKind::StepFailed { step, attempt, duration, error, .. } => log!(
                info,
                event,
                step = %step,
                attempt = attempt,
                duration_ms = millis(*duration),
                error = error.kind.as_str(),
            ),
            EventKind::StepRetryScheduled { step, attempt, delay } => {
                log!(info, event, step = %step, attempt = attempt, delay_ms = millis(*delay))
            }
            EventKind::CompensationStarted { step, attempt } => log!(info, event, step = %step, attempt = attempt),
            EventKind::CompensationCompleted { step, attempt, duration } => {
                log!(info, event, step = %step, attempt = attempt, duration_ms = millis(*duration))
            }
            EventKind::CompensationRetryScheduled { step, attempt, duration, delay, error } => log!(
                info,
                event,
                step = %step,
                attempt = attempt,
                duration_ms = millis(*duration),
                delay_ms = millis(*delay),
                error = error.kind.as_str(),
            ),
            EventKind::CompensationFailed { step, attempt, duration, error } => log!(
                error,
                event,
                step = %step,
                attempt = attempt,
                duration_ms = millis(*duration),
                error = error.kind.as_str(),
            ),
            EventKind::Audited { step, actor, signal, .. } => log!(
                info,
                event,
                step = step.as_ref().map(tracing::field::display),
                actor = actor.as_deref(),
                signal = signal.as_ref().map(tracing::field::display),
            ),
        }
    }

    fn emit_trigger(&self, event: &TriggerEvent) {
        let TriggerEvent { workflow, trigger, kind, .. } = event;
        let name = kind.name();
        match kind {
            TriggerEventKind::OccurrencesMissed { missed, policy } => tracing::warn!(
                target: "squidmesh",
                event = name,
                %workflow,
                %trigger,
                count = missed.count,
                first = %missed.first,
                last = %missed.last,
                policy = ?policy,
                "occurrences of a cron trigger were missed and are skipped"
            ),
            TriggerEventKind::ClockWentBack { position } => tracing::warn!(
                target: "squidmesh",
                event = name,
                %workflow,
                %trigger,
                %position,
                now = %event.at,
                "the database's clock is behind the position of a cron trigger; its schedule continues from the current time"
            ),
            TriggerEventKind::UnknownOccurrence { intended_at } => tracing::warn!(
                target: "squidmesh",
                event = name,
                %workflow,
                %trigger,
                %intended_at,
                "an occurrence was delivered of a workflow or trigger that is not registered here; it is left to a process that has it"
            ),
        }
    }
}

/// Returns the name of an event in logs.
fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::RunTransition { to: RunStatus::Completed, .. } => "run.completed",
        EventKind::RunTransition { to: RunStatus::Failed, .. } => "run.failed",
        _ => kind.name(),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
