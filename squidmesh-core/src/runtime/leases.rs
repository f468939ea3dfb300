//! The leases that this process holds: everything that it executes, each with the signal to its handler.
//!
//! All runners of a runtime share them: what one of them executes, none of them claims. Knows no store and no time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::cancellation::{CancelReason, Cancellation};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::lock::lock;
use crate::port::{LeaseState, LeaseToken};

/// The leases under which this process executes a target, or is about to.
#[derive(Default)]
pub(crate) struct Leases {
    table: Mutex<Table>,
    pulse: AtomicU64,
    families: AtomicU64,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<Lease, Entry>,
    /// The tokens of claims that are in progress.
    claiming: Vec<LeaseToken>,
}

struct Entry {
    cancellation: Cancellation,
    /// The runners whose handlers are notified together when they drain.
    family: u64,
    /// Whether the store is known to have the lease. Until then its absence from the store is no loss.
    known: bool,
}

/// A lease that is extended for as long as this value exists.
pub(crate) struct Held {
    leases: Arc<Leases>,
    lease: Lease,
    family: u64,
    pub(crate) cancellation: Cancellation,
    /// The leases on the successors that commits may begin: one for each try whose token is its own, since any of them may
    /// be applied.
    successors: Mutex<Vec<Held>>,
}

/// A claim in progress.
pub(crate) struct Claiming<'a> {
    leases: &'a Leases,
    token: LeaseToken,
}

impl Leases {
    /// Returns a number for runners that drain together.
    pub(crate) fn family(&self) -> u64 {
        self.families.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a lease alive until the returned value is dropped.
    pub(crate) fn hold(self: &Arc<Self>, lease: &Lease, family: u64) -> Held {
        self.insert(lease, family, true)
    }

    /// Keeps a lease alive that a commit in progress may create, until the returned value is dropped.
    pub(crate) fn expect(self: &Arc<Self>, lease: &Lease, family: u64) -> Held {
        self.insert(lease, family, false)
    }

    /// Counts a claim as held until the returned value is dropped: its answer may take long.
    pub(crate) fn claiming(&self, token: LeaseToken) -> Claiming<'_> {
        lock(&self.table).claiming.push(token);
        Claiming { leases: self, token }
    }

    /// Returns the tokens of everything that is held or being claimed.
    pub(crate) fn tokens(&self) -> Vec<LeaseToken> {
        let table = lock(&self.table);
        let mut tokens: Vec<LeaseToken> = table.held.keys().map(|lease| lease.token).collect();
        tokens.extend(&table.claiming);
        drop(table);
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// Returns the held leases, and for each whether the store is known to have it.
    pub(crate) fn held(&self) -> Vec<(Lease, bool)> {
        lock(&self.table).held.iter().map(|(lease, entry)| (lease.clone(), entry.known)).collect()
    }

    /// Notifies the handlers of leases that were lost, and of leases whose run is cancelled.
    pub(crate) fn extended(&self, leases: &[(Lease, bool)], states: &[LeaseState]) {
        let table = lock(&self.table);
        let signals: Vec<(Cancellation, CancelReason)> = leases
            .iter()
            .zip(states)
            .filter_map(|((lease, known), state)| {
                let reason = match state {
                    LeaseState::Lost if *known => CancelReason::LeaseLost,
                    state if state.is_cancelled() => CancelReason::RunCancelled,
                    _ => return None,
                };
                Some((table.held.get(lease)?.cancellation.clone(), reason))
            })
            .collect();
        drop(table);
        signals.into_iter().for_each(|(cancellation, reason)| cancellation.cancel(reason));
    }

    /// Notifies the handlers of a run that was cancelled.
    pub(crate) fn run_cancelled(&self, run: RunId) {
        self.notify(CancelReason::RunCancelled, |lease, _| lease.key.run_id == run);
    }

    /// Notifies every handler of a family.
    pub(crate) fn notify_family(&self, family: u64, reason: CancelReason) {
        self.notify(reason, |_, entry| entry.family == family);
    }

    fn notify(&self, reason: CancelReason, concerns: impl Fn(&Lease, &Entry) -> bool) {
        let table = lock(&self.table);
        let concerned = table.held.iter().filter(|(lease, entry)| concerns(lease, entry));
        let signals: Vec<Cancellation> = concerned.map(|(_, entry)| entry.cancellation.clone()).collect();
        drop(table);
        signals.into_iter().for_each(|cancellation| cancellation.cancel(reason));
    }

    /// Records that the host's async runtime runs.
    pub(crate) fn beat_pulse(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often that was recorded.
    pub(crate) fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    fn insert(self: &Arc<Self>, lease: &Lease, family: u64, known: bool) -> Held {
        let cancellation = Cancellation::new();
        let entry = Entry { cancellation: cancellation.clone(), family, known };
        lock(&self.table).held.insert(lease.clone(), entry);
        Held { leases: self.clone(), lease: lease.clone(), family, cancellation, successors: Mutex::default() }
    }
}

impl Held {
    /// Creates a new signal for the next piece of work under the same lease.
    pub(crate) fn renew(&mut self) {
        self.cancellation = Cancellation::new();
        if let Some(entry) = lock(&self.leases.table).held.get_mut(&self.lease) {
            entry.cancellation = self.cancellation.clone();
        }
    }

    /// Returns the lease.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Records that the store has the lease.
    pub(crate) fn confirm(&self) {
        if let Some(entry) = lock(&self.leases.table).held.get_mut(&self.lease) {
            entry.known = true;
        }
    }

    /// Keeps the lease on a successor alive from before the commit that begins it: the answer to that commit may take
    /// long.
    pub(crate) fn expect_successor(&self, lease: &Lease) {
        let mut successors = lock(&self.successors);
        if successors.iter().all(|expected| expected.lease != *lease) {
            successors.push(self.leases.expect(lease, self.family));
        }
    }

    /// Returns the lease on the successor, once it has begun.
    pub(crate) fn follow(&self, lease: &Lease) -> Held {
        let expected = std::mem::take(&mut *lock(&self.successors));
        match expected.into_iter().find(|expected| expected.lease == *lease) {
            Some(expected) => {
                expected.confirm();
                expected
            }
            None => self.leases.hold(lease, self.family),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.leases.table).held.remove(&self.lease);
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        let mut table = lock(&self.leases.table);
        if let Some(position) = table.claiming.iter().position(|token| *token == self.token) {
            table.claiming.swap_remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunStatus;
    use crate::testing::sample;

    fn lease(step: &str) -> Lease {
        sample::lease(sample::run_id(1), step, sample::lease_token(1))
    }

    #[test]
    fn a_lease_is_held_as_long_as_it_is_kept() {
        let leases = Arc::new(Leases::default());
        let held = leases.hold(&lease("first"), 1);
        assert_eq!((leases.tokens(), leases.held()), (vec![sample::lease_token(1)], vec![(lease("first"), true)]));
        drop(held);
        assert_eq!((leases.tokens(), leases.held()), (vec![], vec![]));
    }

    #[test]
    fn a_claim_under_way_counts_as_held() {
        let leases = Leases::default();
        let claiming = leases.claiming(sample::lease_token(7));
        assert_eq!(leases.tokens(), [sample::lease_token(7)]);
        drop(claiming);
        assert_eq!(leases.tokens(), []);
    }

    #[test]
    fn a_successor_that_is_not_committed_yet_cannot_be_lost() {
        let leases = Arc::new(Leases::default());
        let held = leases.hold(&lease("first"), 1);
        held.expect_successor(&lease("second"));
        let before = leases.held();
        assert_eq!(before, [(lease("first"), true), (lease("second"), false)]);
        let next = held.follow(&lease("second"));
        leases.extended(&before, &[LeaseState::Held(None), LeaseState::Lost]);
        assert!(!next.cancellation.is_cancelled(), "it was asked for before it was known to be there");
        drop(held);
        leases.extended(&leases.held(), &[LeaseState::Lost]);
        assert_eq!(next.cancellation.reason(), Some(CancelReason::LeaseLost));
    }

    /// The answer to the first try was lost, and it may be the one that is applied.
    #[test]
    fn the_successor_of_each_try_is_held_until_one_is_begun() {
        let leases = Arc::new(Leases::default());
        let held = leases.hold(&lease("first"), 1);
        let tries = [2, 3].map(|token| sample::lease(sample::run_id(1), "second", sample::lease_token(token)));
        tries.iter().chain(&tries).for_each(|lease| held.expect_successor(lease));
        assert_eq!(leases.tokens(), [1, 2, 3].map(sample::lease_token));
        let next = held.follow(&tries[0]);
        drop(held);
        assert_eq!(leases.held(), [(tries[0].clone(), true)]);
        drop(next);
    }

    #[test]
    fn a_successor_that_is_not_begun_is_let_go() {
        let leases = Arc::new(Leases::default());
        let held = leases.hold(&lease("first"), 1);
        held.expect_successor(&lease("second"));
        assert_eq!(leases.held().len(), 2);
        drop(held);
        assert_eq!(leases.held(), []);
    }

    #[test]
    fn handlers_are_notified_of_what_their_run_has_become() {
        let leases = Arc::new(Leases::default());
        let (one, other) = (leases.hold(&lease("first"), 1), leases.hold(&lease("second"), 1));
        let states = [RunStatus::Cancelling, RunStatus::Failed].map(|status| LeaseState::Held(Some(status)));
        leases.extended(&leases.held(), &states);
        let reasons = [one.cancellation.reason(), other.cancellation.reason()];
        assert_eq!(reasons, [Some(CancelReason::RunCancelled), None]);
        leases.notify_family(2, CancelReason::ShuttingDown);
        leases.run_cancelled(sample::run_id(1));
        assert_eq!(other.cancellation.reason(), Some(CancelReason::RunCancelled));
    }
}
