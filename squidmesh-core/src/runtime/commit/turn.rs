//! A turn that one future holds at a time, and none forever.
//!
//! A turn may be held by a future of the host that is neither polled nor dropped. So it is an order and not a lock: a
//! waiter that has waited for longer than any holder may take proceeds. Correctness must not depend on it. Knows
//! nothing of runs.

use std::sync::Mutex;
use std::time::Duration;

use event_listener::{Event, listener};
use futures_util::future::{Either, select};

use crate::lock::lock;
use crate::port::Clock;

/// Hands out one turn after another.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    free: Event,
}

#[derive(Default)]
struct State {
    /// The number of the turn that is held.
    holder: Option<u64>,
    /// The number of turns handed out.
    turns: u64,
}

/// Holds the turn until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

/// How long to wait for a turn that is not released.
#[derive(Clone, Copy)]
pub(crate) struct TurnTimeout<'a> {
    pub(in crate::runtime) clock: &'a dyn Clock,
    pub(in crate::runtime) after: Duration,
}

impl Turns {
    /// Waits for the turn.
    pub(super) async fn next(&self, timeout: TurnTimeout<'_>) -> Turn<'_> {
        let mut timer = None;
        loop {
            // Listen first, then check: a turn released between the two is not missed. All waiters are woken, because
            // any of them may be a future that is never polled.
            listener!(self.free => free);
            if let Some(turn) = self.free_turn() {
                return turn;
            }
            let timer = timer.get_or_insert_with(|| timeout.clock.sleep(timeout.after));
            if let Either::Right(_) = select(free, timer.as_mut()).await {
                tracing::debug!(target: "squidmesh", "a turn to change a run was not released in time: the next waiter proceeds");
                return self.take(&mut lock(&self.state));
            }
        }
    }

    fn free_turn(&self) -> Option<Turn<'_>> {
        let mut state = lock(&self.state);
        state.holder.is_none().then(|| self.take(&mut state))
    }

    fn take(&self, state: &mut State) -> Turn<'_> {
        state.turns += 1;
        state.holder = Some(state.turns);
        Turn { turns: self, number: state.turns }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.turns.state);
        if state.holder == Some(self.number) {
            state.holder = None;
            drop(state);
            self.turns.free.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::definition::secs;
    use crate::testing::ManualClock;

    #[test]
    fn one_has_the_turn_and_then_another() {
        let (clock, turns) = (ManualClock::default(), Turns::default());
        let timeout = TurnTimeout { clock: &clock, after: secs(10) };
        let first = turns.next(timeout).now_or_never().unwrap();
        let mut second = Box::pin(turns.next(timeout));
        let mut third = Box::pin(turns.next(timeout));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        // The second one was woken first, but is not polled.
        let third = third.now_or_never().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(third);
        assert!(second.now_or_never().is_some());
        assert!(turns.next(timeout).now_or_never().is_some());
    }

    #[test]
    fn a_turn_that_is_not_given_back_is_taken_in_the_end() {
        let (clock, turns) = (ManualClock::default(), Turns::default());
        let timeout = TurnTimeout { clock: &clock, after: secs(10) };
        let kept = turns.next(timeout).now_or_never().unwrap();
        let mut waiting = Box::pin(turns.next(timeout));
        assert!((&mut waiting).now_or_never().is_none());
        clock.advance(secs(10));
        let taken = waiting.now_or_never().expect("it has waited for long enough");
        drop(kept);
        assert!(turns.next(timeout).now_or_never().is_none(), "the late one gives back what is another's");
        drop(taken);
        assert!(turns.next(timeout).now_or_never().is_some());
    }
}
