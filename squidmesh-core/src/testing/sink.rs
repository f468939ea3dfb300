//! An event sink that keeps every event.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::definition::Guard;
use crate::event::{Event, EventKind};
use crate::id::RunId;
use crate::name::StepName;
use crate::port::EventSink;
use crate::schedule::TriggerEvent;

/// Collects every event, in the order of emission. Clones share what they collect: give one to the runtime and keep
/// one.
#[derive(Clone, Debug, Default)]
pub struct RecordingSink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    emitted: event_listener::Event,
}

/// The emitted events.
#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    triggers: Vec<TriggerEvent>,
    names: Vec<&'static str>,
}

impl RecordingSink {
    /// Creates an empty sink.
    pub fn new() -> Self {
        RecordingSink::default()
    }

    /// Returns every run event so far.
    pub fn events(&self) -> Vec<Event> {
        self.kept().events.clone()
    }

    /// Returns the events of one run.
    pub fn of_run(&self, run: RunId) -> Vec<Event> {
        self.kept().events.iter().filter(|event| event.run_id == run).cloned().collect()
    }

    /// Returns the routes that handlers have chosen so far, by step, so that a test can compare them with those that the
    /// workflow declares.
    pub fn routes(&self) -> BTreeSet<(StepName, String)> {
        let kept = self.kept();
        let chosen = kept.events.iter().filter_map(|event| match &event.kind {
            EventKind::RouteUnknown { step, route, .. } => Some((step.clone(), route.clone())),
            EventKind::StepRouted { transition } => match &transition.guard {
                Some(Guard::Route(route)) => Some((transition.from.clone(), route.clone())),
                _ => None,
            },
            _ => None,
        });
        chosen.collect()
    }

    /// Returns the names of all events so far, such as `step.completed`.
    pub fn names(&self) -> Vec<&'static str> {
        self.kept().names.clone()
    }

    /// Returns every cron trigger event so far.
    pub fn trigger_events(&self) -> Vec<TriggerEvent> {
        self.kept().triggers.clone()
    }

    /// Returns every run event so far; all events are then forgotten.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.kept()).events
    }

    /// Waits until an event that `wanted` accepts has been emitted, and returns the first such event.
    pub async fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            // Listening before checking avoids missing an event between the two.
            let emitted = self.shared.emitted.listen();
            if let Some(event) = self.kept().events.iter().find(|event| wanted(event)) {
                return event.clone();
            }
            emitted.await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for RecordingSink {
    fn emit(&self, event: &Event) {
        let mut kept = self.kept();
        kept.names.push(event.kind.name());
        kept.events.push(event.clone());
        drop(kept);
        self.shared.emitted.notify(usize::MAX);
    }

    fn emit_trigger(&self, event: &TriggerEvent) {
        let mut kept = self.kept();
        kept.names.push(event.kind.name());
        kept.triggers.push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::testing::sample;

    #[test]
    fn events_are_kept_in_their_order_and_by_run() {
        let sink = RecordingSink::new();
        let (one, other) = (sample::run(1), sample::run(2));
        sink.emit(&Event::new(&one, one.created_at, EventKind::RunCreated));
        sink.emit(&Event::new(&other, other.created_at, EventKind::RunReplayed { from: one.id }));
        assert_eq!(sink.names(), ["run.created", "run.replayed"]);
        assert_eq!(sink.of_run(other.id).len(), 1);
        assert_eq!(sink.take().len(), 2);
        assert!(sink.events().is_empty());
    }

    #[test]
    fn a_waiter_is_notified_of_its_event() {
        let sink = RecordingSink::new();
        let run = sample::run(1);
        let mut waiting = Box::pin(sink.wait_for(|event| event.kind == EventKind::RunCreated));
        assert!(waiting.as_mut().now_or_never().is_none());
        sink.emit(&Event::new(&run, run.created_at, EventKind::RunCreated));
        assert_eq!(waiting.now_or_never().map(|event| event.run_id), Some(run.id));
    }
}
