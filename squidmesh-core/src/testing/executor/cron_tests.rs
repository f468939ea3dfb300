//! Schedules on a clock that goes wrong, and what a host is shown about skipped occurrences.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::definition::MissedPolicy;
use crate::dispatch::InvalidMessage;
use crate::event::IgnoreReason;
use crate::facade::Squidmesh;
use crate::handler::{StepContext, StepResult};
use crate::runner::{DeliveryOutcome, PerformError, Runner};
use crate::runtime::TriggerStatus;
use crate::schedule::TriggerEventKind;
use crate::testing::{MemoryStore, RecordingSink, block_on};
use crate::time::Timestamp;
use crate::workflow::{COMPLETE, Step, Trigger, Workflow};

struct Host {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    executor: MemoryExecutor,
    sink: RecordingSink,
}

impl Host {
    fn at(time: &str) -> Self {
        let clock = Arc::new(ManualClock::new(time.parse().unwrap()));
        let (store, executor) = (Arc::new(MemoryStore::new(clock.clone())), MemoryExecutor::new(clock.clone()));
        Host { clock, store, executor, sink: RecordingSink::new() }
    }

    fn mesh(&self, expression: &str, missed: MissedPolicy) -> Squidmesh {
        let cron = Trigger::cron("hourly").expression(expression).time_zone("UTC").missed(missed);
        let handler = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
        let workflow = Workflow::builder("w").trigger(cron).trigger(Trigger::manual("by_hand"));
        let workflow = workflow.step(Step::new("s", handler)).then("s", COMPLETE).build().unwrap();
        let builder = Squidmesh::builder(self.store.clone()).executor(self.executor.clone());
        builder.event_sink(self.sink.clone()).workflow(workflow).build().unwrap()
    }

    /// Delivers all due work at a time and returns the number of runs created since the beginning.
    fn look(&self, mesh: &Squidmesh, time: &str) -> usize {
        self.clock.set(time.parse().unwrap());
        block_on(self.executor.drain(mesh)).unwrap();
        block_on(mesh.list_runs(&crate::port::RunFilter::new())).unwrap().runs.len()
    }
}

fn status(mesh: &Squidmesh) -> TriggerStatus {
    block_on(mesh.triggers()).unwrap().remove(0)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn perform(runner: &Runner, workflow: &str, trigger: &str, at: &str) -> Result<DeliveryOutcome, PerformError> {
    let payload = json!({"v": 1, "kind": "cron", "workflow": workflow, "trigger": trigger, "intended_at": at});
    block_on(runner.perform(payload.to_string().as_bytes()))
}

#[test]
fn a_clock_that_was_ahead_silences_no_schedule() {
    for missed in [MissedPolicy::Skip, MissedPolicy::Once] {
        let host = Host::at("2026-01-05T00:30:00Z");
        let mesh = host.mesh("0 * * * *", missed);
        host.look(&mesh, "2026-01-05T00:30:00Z");
        let early = host.look(&mesh, "2026-01-06T00:35:00Z");
        let late = if missed == MissedPolicy::Skip { "2026-01-05T00:40:00Z" } else { "2026-01-05T01:00:05Z" };
        host.look(&mesh, late);
        for hour in 1..6 {
            let runs = host.look(&mesh, &format!("2026-01-05T0{hour}:00:05Z"));
            assert_eq!(runs, early + hour, "{missed:?}");
            assert_eq!(status(&mesh).next, Some(time(&format!("2026-01-05T0{}:00:00Z", hour + 1))));
        }
        let warned = host.sink.trigger_events();
        let went_back = warned.iter().filter(|event| matches!(event.kind, TriggerEventKind::ClockWentBack { .. }));
        assert_eq!(went_back.count(), 1, "{warned:?}");
    }
}

#[test]
fn an_occurrence_fired_by_a_fast_clock_is_not_shown_as_next() {
    let host = Host::at("2026-01-05T00:30:00Z");
    let mesh = host.mesh("0 * * * *", MissedPolicy::All);
    host.look(&mesh, "2026-01-05T00:30:00Z");
    assert_eq!(host.look(&mesh, "2026-01-05T04:35:00Z"), 4);
    assert_eq!(host.look(&mesh, "2026-01-05T00:40:00Z"), 4);
    assert_eq!(status(&mesh).next, Some(time("2026-01-05T05:00:00Z")), "four of them have their runs");
    assert_eq!(host.look(&mesh, "2026-01-05T04:00:05Z"), 4);
    assert_eq!(host.look(&mesh, "2026-01-05T05:00:05Z"), 5);
}

#[test]
fn a_new_schedule_or_a_resumption_mends_a_clock_that_was_ahead() {
    let host = Host::at("2026-01-05T00:30:00Z");
    let mesh = host.mesh("0 * * * *", MissedPolicy::Skip);
    host.look(&mesh, "2026-01-05T00:30:00Z");
    host.look(&mesh, "2026-01-06T00:35:00Z");
    let mesh = host.mesh("30 * * * *", MissedPolicy::Skip);
    host.look(&mesh, "2026-01-05T05:00:05Z");
    block_on(mesh.pause_trigger("w", "hourly")).unwrap();
    block_on(mesh.resume_trigger("w", "hourly")).unwrap();
    assert_eq!(status(&mesh).next, Some(time("2026-01-05T05:30:00Z")));
    let before = block_on(mesh.list_runs(&crate::port::RunFilter::new())).unwrap().runs.len();
    for hour in 5..9 {
        let runs = host.look(&mesh, &format!("2026-01-05T0{hour}:30:05Z"));
        assert_eq!(runs, before + hour - 4);
    }
}

#[test]
fn missed_occurrences_are_reported_once_with_their_number() {
    let host = Host::at("2026-01-05T00:30:00Z");
    let mesh = host.mesh("0 3 * * *", MissedPolicy::Skip);
    host.look(&mesh, "2026-01-05T00:30:00Z");
    assert_eq!(host.look(&mesh, "2026-01-08T12:00:00Z"), 0);
    host.look(&mesh, "2026-01-08T12:00:10Z");
    let events = host.sink.trigger_events();
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((event.workflow.as_str(), event.trigger.as_str()), ("w", "hourly"));
    let TriggerEventKind::OccurrencesMissed { missed, policy: MissedPolicy::Skip } = &event.kind else {
        panic!("{event:?}")
    };
    assert_eq!((missed.count, missed.first), (4, time("2026-01-05T03:00:00Z")));
    assert_eq!(missed.last, time("2026-01-08T03:00:00Z"));
    assert_eq!(status(&mesh).missed_occurrences.as_ref(), Some(missed));
    assert!(host.sink.names().contains(&"trigger.occurrences_missed"));
}

#[test]
fn a_delivery_of_no_occurrence_is_refused_and_starts_nothing() {
    let host = Host::at("2026-01-05T03:30:00Z");
    let mesh = host.mesh("0 * * * *", MissedPolicy::Skip);
    let runner = mesh.runner();
    for at in ["2026-01-05T03:00:01Z", "2026-01-05T03:00:00.001Z", "2026-01-05T02:59:59.999Z", "1969-12-31T23:30:00Z"] {
        let refused = perform(&runner, "w", "hourly", at);
        let no_occurrence = InvalidMessage::NoOccurrence {
            workflow: "w".parse().unwrap(),
            trigger: "hourly".parse().unwrap(),
            intended_at: time(at),
        };
        assert!(
            matches!(&refused, Err(PerformError::InvalidMessage(why)) if *why == no_occurrence),
            "{at}: {refused:?}"
        );
    }
    let refused = perform(&runner, "w", "by_hand", "2026-01-05T03:00:00Z");
    assert!(matches!(refused, Err(PerformError::InvalidMessage(InvalidMessage::ManualTrigger { .. }))), "{refused:?}");
    let early = perform(&runner, "w", "hourly", "2027-01-05T03:00:00Z");
    assert!(matches!(early, Ok(DeliveryOutcome::Ignored(IgnoreReason::NotDue))), "{early:?}");
    assert_eq!(host.look(&mesh, "2026-01-05T03:30:00Z"), 0, "nothing was started");
    let due = perform(&runner, "w", "hourly", "2026-01-05T03:00:00Z");
    assert!(matches!(due, Ok(DeliveryOutcome::Done { .. })), "{due:?}");
    assert_eq!(host.look(&mesh, "2026-01-05T03:30:00Z"), 1);
}

#[test]
fn an_occurrence_of_an_unknown_workflow_is_left_with_an_event() {
    let host = Host::at("2026-01-05T03:30:00Z");
    let mesh = host.mesh("0 * * * *", MissedPolicy::Skip);
    for (workflow, trigger) in [("elsewhere", "hourly"), ("w", "weekly")] {
        let left = perform(&mesh.runner(), workflow, trigger, "2026-01-05T03:00:00Z");
        assert!(matches!(left, Err(PerformError::UnknownTrigger { .. })), "{left:?}");
        let event = host.sink.trigger_events().pop().unwrap();
        assert_eq!((event.workflow.as_str(), event.trigger.as_str()), (workflow, trigger));
        let intended_at = time("2026-01-05T03:00:00Z");
        assert_eq!(event.kind, TriggerEventKind::UnknownOccurrence { intended_at });
    }
}

#[test]
fn who_paused_a_trigger_is_recorded() {
    let host = Host::at("2026-01-05T03:30:00Z");
    let mesh = host.mesh("0 * * * *", MissedPolicy::Skip);
    let paused = block_on(mesh.pause_trigger("w", "hourly").actor("gül")).unwrap();
    assert_eq!(paused.actor.as_deref(), Some("gül"));
    assert_eq!(status(&mesh), paused);
    let resumed = block_on(mesh.resume_trigger("w", "hourly").actor("ayşe")).unwrap();
    assert_eq!(resumed.actor.as_deref(), Some("ayşe"));
    for actor in ["", "a\0b"] {
        let refused = block_on(mesh.pause_trigger("w", "hourly").actor(actor));
        assert!(matches!(refused, Err(crate::runtime::TriggerError::Actor(_))), "{refused:?}");
    }
    assert!(status(&mesh).paused_at.is_none());
}
