//! An event sink that keeps what it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Event, EventSink, RunId};

/// Collects every event, in the order in which they were emitted. Clones share what they collect: give one to the runtime
/// and keep one.
#[derive(Clone, Debug, Default)]
pub struct RecordingSink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    events: Mutex<Vec<Event>>,
    emitted: event_listener::Event,
}

impl RecordingSink {
    /// A sink that has heard nothing.
    pub fn new() -> Self {
        RecordingSink::default()
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        self.kept().clone()
    }

    /// The events of one run.
    pub fn of_run(&self, run: RunId) -> Vec<Event> {
        self.kept().iter().filter(|event| event.run_id == run).cloned().collect()
    }

    /// The names of all events so far, such as `step.completed`.
    pub fn names(&self) -> Vec<&'static str> {
        self.kept().iter().map(|event| event.kind.name()).collect()
    }

    /// Everything so far, which is then forgotten.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.kept())
    }

    /// Waits until an event that `wanted` accepts has been emitted, and gives the first such.
    pub async fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            // Listen first, look after: an event between the two is not missed.
            let emitted = self.shared.emitted.listen();
            if let Some(event) = self.kept().iter().find(|event| wanted(event)) {
                return event.clone();
            }
            emitted.await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Event>> {
        self.shared.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for RecordingSink {
    fn emit(&self, event: &Event) {
        self.kept().push(event.clone());
        self.shared.emitted.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::EventKind;
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
    fn a_waiter_is_told_of_the_event_that_it_waits_for() {
        let sink = RecordingSink::new();
        let run = sample::run(1);
        let mut waiting = Box::pin(sink.wait_for(|event| event.kind == EventKind::RunCreated));
        assert!(waiting.as_mut().now_or_never().is_none());
        sink.emit(&Event::new(&run, run.created_at, EventKind::RunCreated));
        assert_eq!(waiting.now_or_never().map(|event| event.run_id), Some(run.id));
    }
}
