//! What a commit announces: its events, and the intents that workers may claim.
//!
//! Knows the data of a commit. Never emits it: [`Runtime::announce`](crate::runtime::Runtime::announce) does, after
//! the commit.

use crate::dispatch::Intent;
use crate::event::Event;
use crate::port::{Commit, IntentWrite};

/// The events and intents to announce after a commit.
#[derive(Debug, Default)]
pub(crate) struct Announcement {
    pub(crate) events: Vec<Event>,
    pub(crate) intents: Vec<Intent>,
}

impl Announcement {
    /// Returns the events of a decision, and those intents of its commit that no worker holds yet.
    pub(in crate::runtime) fn of(commit: &Commit, events: Vec<Event>) -> Self {
        let announced = commit.intents.iter().filter_map(|write| match write {
            IntentWrite::Add(intent) | IntentWrite::Replace(intent) if intent.lease.is_none() => Some(intent.clone()),
            _ => None,
        });
        Announcement { intents: announced.collect(), events }
    }

    pub(in crate::runtime) fn extend(&mut self, other: Announcement) {
        self.events.extend(other.events);
        self.intents.extend(other.intents);
    }
}
