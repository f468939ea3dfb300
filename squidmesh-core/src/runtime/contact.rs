//! Contact with the store: after this process has lost it, it takes over no expired lease before the lease's owner
//! has had time to extend it.
//!
//! Owners lose contact as this process does: while it could not extend a lease, neither could they. So after an
//! outage it leaves the expired leases of others alone for one heartbeat, and for one lease at most in total, even if
//! its own heartbeats never succeed again. Unheld work is claimed at once. Pure: the time is passed in.

use std::sync::Mutex;
use std::time::Duration;

use crate::lock::lock;
use crate::time::Timestamp;

/// The contact of this process's heartbeats with the store.
pub(crate) struct Contact {
    lease: Duration,
    heartbeat: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the last successful heartbeat began. `None` for a process that has just started.
    last: Option<Timestamp>,
    /// When the first claim in this outage succeeded that left leases alone.
    claiming: Option<Timestamp>,
    /// From when until when leases are left alone after an outage.
    spared: Option<(Timestamp, Timestamp)>,
}

impl Contact {
    pub(crate) fn new(lease: Duration, heartbeat: Duration) -> Self {
        Contact { lease, heartbeat, state: Mutex::default() }
    }

    /// Returns how long, after the start of a successful heartbeat, the heartbeats of others can be assumed to have
    /// succeeded as well. At least until the next heartbeat is clearly overdue.
    fn trust(&self) -> Duration {
        self.lease.saturating_sub(self.heartbeat).max(self.heartbeat + self.heartbeat / 4)
    }

    /// Starts the heartbeats and forgets any earlier state: the process counts as just started.
    pub(crate) fn start(&self) {
        *lock(&self.state) = State::default();
    }

    /// Returns how long the expired leases of others are left alone; `None` if they may be taken over.
    pub(crate) fn spare(&self, now: Timestamp) -> Option<Duration> {
        let mut state = lock(&self.state);
        if let Some((from, until)) = state.spared {
            // A clock that was set back must not extend the period.
            if (from..until).contains(&now) {
                return Some(until.since(now));
            }
            state.spared = None;
        }
        let lost = state.last.is_some_and(|last| now.since(last) > self.trust());
        let enough = state.claiming.is_some_and(|since| now.since(since) >= self.lease);
        (lost && !enough).then_some(self.heartbeat)
    }

    /// Records a successful claim that left leases alone.
    pub(crate) fn claimed_sparing(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        if state.spared.is_none() {
            state.claiming.get_or_insert(now);
        }
    }

    /// Records that a heartbeat that began at `began` has succeeded now. Returns whether contact had been lost.
    pub(crate) fn regained(&self, began: Timestamp, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let lost = state.last.is_some_and(|last| now.since(last) > self.trust());
        let claiming = state.claiming.take();
        if lost {
            let until = now.after(self.heartbeat);
            let until = claiming.map_or(until, |since| until.min(since.after(self.lease)));
            state.spared = Some((now, until));
        }
        state.last = Some(began);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{ms, secs};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.after(secs(seconds))
    }

    fn contact() -> Contact {
        Contact::new(secs(30), secs(10))
    }

    fn beat(contact: &Contact, seconds: u64) -> bool {
        contact.regained(at(seconds), at(seconds))
    }

    #[test]
    fn a_process_that_has_just_started_takes_over_what_has_expired() {
        let contact = contact();
        assert_eq!(contact.spare(at(0)), None);
        assert!(!beat(&contact, 10));
        assert_eq!(contact.spare(at(30)), None, "a heartbeat or two may be late");
    }

    #[test]
    fn without_contact_the_leases_of_others_are_left_alone() {
        let contact = contact();
        beat(&contact, 10);
        assert_eq!(contact.spare(at(31)), Some(secs(10)));
    }

    #[test]
    fn after_an_outage_they_are_left_alone_for_one_heartbeat() {
        let contact = contact();
        beat(&contact, 10);
        assert!(beat(&contact, 300));
        assert_eq!(contact.spare(at(300)), Some(secs(10)));
        assert!(!beat(&contact, 305), "once for one outage");
        assert_eq!(contact.spare(at(309)), Some(secs(1)));
        assert_eq!(contact.spare(at(310)), None);
    }

    #[test]
    fn a_short_outage_changes_nothing() {
        let contact = contact();
        beat(&contact, 10);
        assert!(!beat(&contact, 29));
        assert_eq!(contact.spare(at(30)), None);
    }

    #[test]
    fn they_are_left_alone_for_one_lease_at_most_in_all() {
        let contact = contact();
        beat(&contact, 10);
        for second in 100..130 {
            assert!(contact.spare(at(second)).is_some());
            contact.claimed_sparing(at(second));
        }
        assert_eq!(contact.spare(at(130)), None, "its own heartbeats may never get through again");
        beat(&contact, 200);
        assert_eq!(contact.spare(at(200)), None, "once for one outage");
        let other = self::contact();
        beat(&other, 10);
        other.claimed_sparing(at(100));
        beat(&other, 125);
        assert_eq!(other.spare(at(125)), Some(secs(5)));
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_nothing() {
        let contact = contact();
        beat(&contact, 1_000);
        beat(&contact, 2_000);
        assert_eq!(contact.spare(at(2_001)), Some(secs(9)));
        assert_eq!(contact.spare(at(1_000)), None);
    }

    #[test]
    fn a_heartbeat_of_half_a_lease_is_not_an_outage() {
        let contact = Contact::new(secs(20), secs(10));
        beat(&contact, 0);
        assert!(!contact.regained(at(10), at(10).after(ms(50))));
        assert_eq!(contact.spare(at(10)), None);
    }
}
