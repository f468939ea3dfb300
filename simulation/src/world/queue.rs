//! The queue: messages that all processes share, and that may be lost, doubled, late, out of order, or wiped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};
use squidmesh_core::Timestamp;

#[derive(Default)]
pub(crate) struct Queue {
    messages: Mutex<Vec<(Timestamp, Vec<u8>)>>,
    arrived: Event,
}

impl Queue {
    fn messages(&self) -> MutexGuard<'_, Vec<(Timestamp, Vec<u8>)>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in a message that arrives at `at`.
    pub(crate) fn put(&self, at: Timestamp, message: Vec<u8>) {
        self.messages().push((at, message));
        self.arrived.notify(1);
    }

    /// Takes one of the messages that have arrived, at any position.
    pub(crate) fn take(&self, now: Timestamp, choose: impl Fn(usize) -> usize) -> Option<Vec<u8>> {
        let mut messages = self.messages();
        let arrived: Vec<usize> = (0..messages.len()).filter(|place| messages[*place].0 <= now).collect();
        let place = *arrived.get(choose(arrived.len()))?;
        Some(messages.swap_remove(place).1)
    }

    /// Returns when the next message arrives.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.messages().iter().map(|(at, _)| *at).min()
    }

    /// Completes when a message was put in.
    pub(crate) fn arrival(&self) -> EventListener {
        self.arrived.listen()
    }

    /// Loses every message.
    pub(crate) fn wipe(&self) {
        self.messages().clear();
    }
}
