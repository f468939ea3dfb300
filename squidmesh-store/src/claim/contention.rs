//! Remembers that claims waited for the write lock of SQLite, so that leases that expired meanwhile are left to
//! their owners.
//!
//! The owners waited as well, and could not extend their leases. They retry within a third of a lease, which is
//! how long expired leases are left alone once a claim succeeds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest wait for the write lock that counts as contention.
const WAITED: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Contention(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the last claim failed to get the write lock.
    failed: bool,
    /// When a claim last got the lock after a long wait, or after another claim had failed to get it.
    over_since: Option<Instant>,
}

impl Contention {
    /// Records that a claim did not get the write lock.
    pub(super) fn failed(&self) {
        self.state().failed = true;
    }

    /// Records that a claim got the write lock at `now`, after a wait of `waited`. Returns whether it must leave
    /// expired leases alone.
    pub(super) fn got_through(&self, now: Instant, waited: Duration, lease: Duration) -> bool {
        let mut state = self.state();
        if std::mem::take(&mut state.failed) || waited > WAITED {
            state.over_since = Some(now);
        }
        let spared = (lease / 3).saturating_add(WAITED);
        state.over_since.is_some_and(|since| now.saturating_duration_since(since) < spared)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    #[test]
    fn expired_leases_are_left_alone_after_a_wait() {
        let (contention, start) = (Contention::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!contention.got_through(at(0), Duration::ZERO, LEASE));
        assert!(contention.got_through(at(5), Duration::from_secs(2), LEASE));
        assert!(
            contention.got_through(at(14), Duration::ZERO, LEASE),
            "an owner may still wait for its next heartbeat"
        );
        assert!(!contention.got_through(at(17), Duration::ZERO, LEASE));
    }

    #[test]
    fn a_claim_that_gave_up_waiting_counts_as_well() {
        let (contention, start) = (Contention::default(), Instant::now());
        contention.failed();
        assert!(contention.got_through(start, Duration::ZERO, LEASE));
        assert!(!contention.got_through(start + LEASE, Duration::ZERO, LEASE), "once for each wait");
    }
}
