//! Events as log lines: the sink that every runtime has.

use crate::{Event, EventKind, EventSink};

/// Writes every event to [`tracing`], under the target `squidmesh`.
///
/// No payload, input, output or error message is written: of a failure only its kind. Who decided is written if the host's
/// [`Redaction`](crate::Redaction) shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

macro_rules! log {
    ($level:ident, $event:ident $(, $($fields:tt)+)?) => {
        tracing::$level!(
            target: "squidmesh",
            event = $event.kind.name(),
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
            EventKind::RunCreated => log!(debug, event),
            EventKind::RunReplayed { from } => log!(info, event, replayed_from = %from),
            EventKind::RunResumed { from } => log!(info, event, resumed_from = %from),
            EventKind::RunDispatched { metadata } => log!(
                debug,
                event,
                job_id = metadata.job_id,
                queue = %metadata.queue,
                delay_ms = metadata.schedule_in.map(millis),
            ),
            EventKind::RunTransition { from, to } => log!(debug, event, from = %from, to = %to),
            EventKind::StepStarted { step, attempt } => log!(debug, event, step = %step, attempt = attempt),
            EventKind::StepSkipped { step, reason } => {
                log!(debug, event, step = step.as_ref().map(tracing::field::display), reason = reason.as_str(),)
            }
            EventKind::StepCompleted { step, attempt, duration } => {
                log!(debug, event, step = %step, attempt = attempt, duration_ms = millis(*duration))
            }
            EventKind::StepFailed { step, attempt, duration, error } => log!(
                warn,
                event,
                step = %step,
                attempt = attempt,
                duration_ms = millis(*duration),
                error = error.kind,
            ),
            EventKind::StepRetryScheduled { step, attempt, delay } => {
                log!(info, event, step = %step, attempt = attempt, delay_ms = millis(*delay))
            }
            EventKind::CompensationStarted { step } | EventKind::CompensationCompleted { step } => {
                log!(info, event, step = %step)
            }
            EventKind::CompensationRetryScheduled { step, attempt, delay, error } => log!(
                warn,
                event,
                step = %step,
                attempt = attempt,
                delay_ms = millis(*delay),
                error = error.kind,
            ),
            EventKind::CompensationFailed { step, error } => log!(error, event, step = %step, error = error.kind),
            EventKind::Audited { step, actor, .. } => {
                log!(info, event, step = step.as_ref().map(tracing::field::display), actor = actor.as_deref(),)
            }
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
