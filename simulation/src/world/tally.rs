//! What came of a seed, and counts of what happened in it.

use std::time::Duration;

use squidmesh_checker::{Answer, Call, RunRecord, Violation};
use squidmesh_core::command::SignalReceipt;
use squidmesh_core::run::AuditKind;

/// The result of a seed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The broken rules.
    pub violations: Vec<Violation>,
    /// A hash of the trace, which distinguishes two traces.
    pub hash: u64,
    /// The trace, if it was requested.
    pub trace: Vec<String>,
    /// The virtual time that passed.
    pub time: Duration,
    /// Counts of what happened, so that a simulation of nothing is noticed.
    pub tally: Tally,
}

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub runs: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub waiting: u64,
    pub commits: u64,
    pub handlers: u64,
    pub compensations: u64,
    pub deaths: u64,
    pub freezes: u64,
    pub polls: u64,
    pub signals: u64,
    pub taken: u64,
    pub duplicates: u64,
    pub late: u64,
    pub expired: u64,
}

impl Tally {
    /// Adds the counts of another tally.
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.waiting += other.waiting;
        self.commits += other.commits;
        self.handlers += other.handlers;
        self.compensations += other.compensations;
        self.deaths += other.deaths;
        self.freezes += other.freezes;
        self.polls += other.polls;
        self.signals += other.signals;
        self.taken += other.taken;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.expired += other.expired;
    }

    /// Counts the signals of a run.
    pub(super) fn count_signals(&mut self, record: &RunRecord) {
        let count = |kind: AuditKind| record.history.audit.iter().filter(|entry| entry.kind == kind).count() as u64;
        self.signals += count(AuditKind::SignalReceived) + count(AuditKind::SignalLate);
        self.late += count(AuditKind::SignalLate);
        self.expired += count(AuditKind::Expired);
        self.taken += record.state.signals.iter().filter(|signal| !signal.is_buffered()).count() as u64;
    }

    /// Counts the answers to senders.
    pub(super) fn count_answers(&mut self, calls: &[Call]) {
        let is_duplicate = |call: &&Call| matches!(call.answer, Answer::Signalled(_, SignalReceipt::Duplicate));
        self.duplicates += calls.iter().filter(is_duplicate).count() as u64;
    }
}
