//! Work that waits for a worker and comes before what the workers would continue with.
//!
//! A worker continues with the successors of its own run without querying the store, so it would not notice more
//! urgent due work. That work is noted here: at no cost when this process commits it, and by a query when an
//! executor's workers are all busy. A claim takes the most urgent work first, and so clears the note.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::registry::Registry;
use crate::definition::Priority;
use crate::dispatch::Intent;
use crate::lock::lock;
use crate::name::QueueName;
use crate::port::DueIntent;

/// An expired lease comes before every priority.
const LEASE_EXPIRED: u8 = 4;

/// The urgency of the work that waits for the workers of some queues.
#[derive(Default)]
pub(crate) struct Urgency {
    level: AtomicU8,
}

impl Urgency {
    /// Notes that an intent of this priority is due.
    pub(crate) fn note(&self, priority: Priority) {
        self.level.fetch_max(level(priority), Ordering::Relaxed);
    }

    /// Records the first due intent of a query: one with an expired lease, one of a priority, or none.
    pub(crate) fn saw(&self, first: Option<&DueIntent>) {
        let level = first.map_or(0, |first| if first.lease_expired { LEASE_EXPIRED } else { level(first.priority) });
        self.level.store(level, Ordering::Relaxed);
    }

    /// Clears the note when work is claimed, the most urgent first. Returns the cleared note.
    pub(crate) fn forget(&self) -> Noted {
        Noted(self.level.swap(0, Ordering::Relaxed))
    }

    /// Restores the note after a claim that reached its limit: there may be more.
    pub(crate) fn restore(&self, noted: Noted) {
        self.level.fetch_max(noted.0, Ordering::Relaxed);
    }

    /// Returns the lowest priority that a worker continues with; `None` if it continues with nothing.
    pub(crate) fn lowest(&self) -> Option<Priority> {
        let noted = self.level.load(Ordering::Relaxed);
        let admitted = |priority: &Priority| level(*priority) >= noted;
        [Priority::Low, Priority::Normal, Priority::High].into_iter().find(admitted)
    }
}

/// The note before a claim.
pub(crate) struct Noted(u8);

/// The urgencies of this process's workers.
pub(crate) struct Urgencies {
    lanes: Mutex<Vec<Lane>>,
    /// Whether steps of several priorities are registered: otherwise no committed work comes before other work.
    mixed: bool,
}

struct Lane {
    queues: Arc<[QueueName]>,
    urgency: Weak<Urgency>,
}

impl Urgencies {
    pub(crate) fn new(registry: &Registry) -> Self {
        let versions = registry.fingerprints().into_iter().filter_map(|version| registry.version(&version));
        let classes = versions.flat_map(|workflow| workflow.definition().steps()).map(|step| step.priority);
        // Compensation has the priority `normal`.
        let classes: BTreeSet<Priority> = classes.chain([Priority::Normal]).collect();
        Urgencies { lanes: Mutex::default(), mixed: classes.len() > 1 }
    }

    /// Returns whether steps of several priorities are registered.
    pub(crate) fn mixed(&self) -> bool {
        self.mixed
    }

    /// Returns the urgency for workers that serve these queues.
    pub(crate) fn lane(&self, queues: &Arc<[QueueName]>) -> Arc<Urgency> {
        let urgency = Arc::new(Urgency::default());
        if self.mixed {
            let mut lanes = lock(&self.lanes);
            lanes.retain(|lane| lane.urgency.strong_count() > 0);
            lanes.push(Lane { queues: queues.clone(), urgency: Arc::downgrade(&urgency) });
        }
        urgency
    }

    /// Notes committed intents that are due at once.
    pub(super) fn committed(&self, intents: &[Intent]) {
        if !self.mixed {
            return;
        }
        let due = |intent: &&Intent| intent.lease.is_none() && intent.delay.is_zero();
        let noted: BTreeSet<_> = intents.iter().filter(due).map(|intent| (&intent.queue, intent.priority)).collect();
        if noted.is_empty() {
            return;
        }
        for lane in lock(&self.lanes).iter() {
            let Some(urgency) = lane.urgency.upgrade() else { continue };
            let served = noted.iter().filter(|(queue, _)| lane.queues.contains(queue));
            served.for_each(|(_, priority)| urgency.note(*priority));
        }
    }
}

fn level(priority: Priority) -> u8 {
    match priority {
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gives_way_to_what_is_of_a_higher_class() {
        let urgency = Urgency::default();
        assert_eq!(urgency.lowest(), Some(Priority::Low));
        for (noted, lowest) in [(Priority::Normal, Priority::Normal), (Priority::High, Priority::High)] {
            urgency.note(noted);
            urgency.note(Priority::Low);
            assert_eq!(urgency.lowest(), Some(lowest));
        }
        let noted = urgency.forget();
        assert_eq!(urgency.lowest(), Some(Priority::Low));
        urgency.restore(noted);
        assert_eq!(urgency.lowest(), Some(Priority::High));
        urgency.level.store(LEASE_EXPIRED, Ordering::Relaxed);
        assert_eq!(urgency.lowest(), None);
        urgency.saw(None);
        assert_eq!(urgency.lowest(), Some(Priority::Low));
    }
}
