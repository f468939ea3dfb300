//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use event_listener::Event;

use crate::port::Clock;
use crate::time::Timestamp;

/// A clock that a test moves by hand. Share it behind an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct ManualClock {
    face: Mutex<Face>,
    moved: Event,
}

#[derive(Debug)]
struct Face {
    now: Timestamp,
    /// The number of sleepers waiting for each deadline.
    deadlines: BTreeMap<Timestamp, usize>,
}

impl ManualClock {
    /// Creates a clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        ManualClock { face: Mutex::new(Face { now: start, deadlines: BTreeMap::new() }), moved: Event::new() }
    }

    /// Moves the clock forward and wakes the sleepers whose deadline has come.
    pub fn advance(&self, duration: Duration) {
        let mut face = self.face();
        face.now = face.now.after(duration);
        drop(face);
        self.moved.notify(usize::MAX);
    }

    /// Sets the clock, backwards too: a host's clock may jump.
    pub fn set(&self, now: Timestamp) {
        self.face().now = now;
        self.moved.notify(usize::MAX);
    }

    /// Returns the earliest time that a sleeper waits for, or `None` if there is no sleeper.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.face().deadlines.keys().next().copied()
    }

    /// Completes once the clock shows `deadline` or later. Unlike sleeping for a duration, the result does not depend
    /// on whether the clock is moved just before the call.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        let _asleep = Sleeper::until(self, deadline);
        loop {
            // Listening before checking avoids missing a move between the two.
            let moved = self.moved.listen();
            if self.now() >= deadline {
                return;
            }
            moved.await;
        }
    }

    fn face(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the first instant of the year 2026.
impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new(Timestamp::from_millis(1_767_225_600_000))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.face().now
    }

    async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().after(duration)).await;
    }
}

/// Counts among the clock's deadlines while it exists, so that a dropped sleep leaves none behind.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    deadline: Timestamp,
}

impl<'a> Sleeper<'a> {
    fn until(clock: &'a ManualClock, deadline: Timestamp) -> Self {
        *clock.face().deadlines.entry(deadline).or_default() += 1;
        Sleeper { clock, deadline }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut face = self.clock.face();
        if let Some(sleepers) = face.deadlines.get_mut(&self.deadline) {
            *sleepers -= 1;
            if *sleepers == 0 {
                face.deadlines.remove(&self.deadline);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::definition::{ms, secs};

    #[test]
    fn a_sleep_ends_when_the_clock_has_been_moved_to_its_deadline() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(secs(10));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(ms(9_999));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(ms(1));
        assert!(sleep.now_or_never().is_some());
    }

    #[test]
    fn the_next_deadline_is_that_of_the_earliest_sleeper() {
        let clock = ManualClock::new(Timestamp::EPOCH);
        assert_eq!(clock.next_deadline(), None);
        let mut long = clock.sleep(secs(60));
        let mut short = clock.sleep(secs(5));
        assert!(long.as_mut().now_or_never().is_none());
        assert!(short.as_mut().now_or_never().is_none());
        assert_eq!(clock.next_deadline(), Some(Timestamp::EPOCH.after(secs(5))));
        drop(short);
        assert_eq!(clock.next_deadline(), Some(Timestamp::EPOCH.after(secs(60))));
        drop(long);
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn a_clock_set_back_keeps_sleepers_asleep() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(secs(1));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.set(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
        assert!(sleep.now_or_never().is_none());
    }

    #[test]
    fn no_sleep_at_all_ends_at_once() {
        assert!(ManualClock::default().sleep(Duration::ZERO).now_or_never().is_some());
    }
}
