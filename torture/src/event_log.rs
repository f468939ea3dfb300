//! The events of every process, in a form that can be kept in a file and judged later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use squidmesh_core::Timestamp;
use squidmesh_core::definition::StepName;
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::run::{Failure, RunSnapshot};

/// The kept part of an event: enough to judge whether it is true.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoggedEvent {
    pub(crate) run: String,
    status: String,
    kind: Kind,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Transition { from: String, to: String },
    Started { step: String, attempt: u32 },
    Completed { step: String, attempt: u32 },
    Failed { step: String, attempt: u32 },
    Compensating { step: String },
    Compensated { step: String },
}

impl LoggedEvent {
    pub(crate) fn of(event: &Event) -> Option<LoggedEvent> {
        let kind = match &event.kind {
            EventKind::RunTransition { from, to, .. } => {
                Kind::Transition { from: from.to_string(), to: to.to_string() }
            }
            EventKind::StepStarted { step, attempt } => Kind::Started { step: step.to_string(), attempt: *attempt },
            EventKind::StepCompleted { step, attempt, .. } => {
                Kind::Completed { step: step.to_string(), attempt: *attempt }
            }
            EventKind::StepFailed { step, attempt, .. } => Kind::Failed { step: step.to_string(), attempt: *attempt },
            EventKind::CompensationStarted { step, .. } => Kind::Compensating { step: step.to_string() },
            EventKind::CompensationCompleted { step, .. } => Kind::Compensated { step: step.to_string() },
            _ => return None,
        };
        Some(LoggedEvent { run: event.run_id.to_string(), status: event.status.to_string(), kind })
    }

    /// Returns the event, about a run as it is stored now.
    pub(crate) fn event(&self, state: &RunSnapshot) -> Event {
        let status = |text: &str| text.parse().expect("a status");
        let step = |text: &str| StepName::new(text).expect("a name");
        let duration = Duration::ZERO;
        let kind = match &self.kind {
            Kind::Transition { from, to } => {
                EventKind::RunTransition { from: status(from), to: status(to), failure: None }
            }
            Kind::Started { step: name, attempt } => EventKind::StepStarted { step: step(name), attempt: *attempt },
            Kind::Completed { step: name, attempt } => {
                EventKind::StepCompleted { step: step(name), attempt: *attempt, duration }
            }
            Kind::Failed { step: name, attempt } => EventKind::StepFailed {
                step: step(name),
                attempt: *attempt,
                duration,
                error: Failure::new("torture", "as logged"),
                is_final: false,
            },
            Kind::Compensating { step: name } => EventKind::CompensationStarted { step: step(name), attempt: 0 },
            Kind::Compensated { step: name } => {
                EventKind::CompensationCompleted { step: step(name), attempt: 0, duration }
            }
        };
        let mut run = state.run.clone();
        run.status = status(&self.status);
        Event::new(&run, Timestamp::from_millis(0), kind)
    }
}
