//! Claims: what workers ask a store for, and what they get.
//!
//! Knows which intents are wanted and for how long; never what is done with them.

use std::sync::Arc;
use std::time::Duration;

use super::StoreError;
use crate::{Fingerprint, Lease, LeaseToken, QueueName, RunId, RunState, SkipReason};

/// Which intents to claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// From these queues.
    pub queues: Vec<QueueName>,
    /// Only for these versions of workflows: others are left for processes that have them.
    pub fingerprints: Vec<Fingerprint>,
    /// At most so many.
    pub limit: usize,
    /// The token of the claims.
    pub token: LeaseToken,
    /// How long the leases last.
    pub lease: Duration,
    /// The runs that the claimer has at hand: they need not be read.
    pub at_hand: Vec<RunId>,
}

impl ClaimRequest {
    /// A request for up to `limit` intents of any of these queues and versions.
    pub fn new(
        queues: Vec<QueueName>,
        fingerprints: Vec<Fingerprint>,
        limit: usize,
        token: LeaseToken,
        lease: Duration,
    ) -> Self {
        ClaimRequest { queues, fingerprints, limit, token, lease, at_hand: Vec::new() }
    }

    /// Has these runs at hand: what is claimed of them comes without its run.
    #[must_use]
    pub fn at_hand(mut self, runs: Vec<RunId>) -> Self {
        self.at_hand = runs;
        self
    }
}

/// Which stranded runs to look for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StrandedRequest {
    /// Intents of these versions are not stranded: they are claimed where they are known.
    pub known: Vec<Fingerprint>,
    /// How long an intent must have been due.
    pub due_for: Duration,
    /// Only this run.
    pub run: Option<RunId>,
    /// Only runs that come after this one.
    pub after: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

impl StrandedRequest {
    /// A request for up to `limit` runs with work that has been due for `due_for`, of versions other than the known ones.
    pub fn new(known: Vec<Fingerprint>, due_for: Duration, limit: usize) -> Self {
        StrandedRequest { known, due_for, run: None, after: None, limit }
    }

    /// Only this run.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// The page after the run with this id.
    #[must_use]
    pub fn after(mut self, run: Option<RunId>) -> Self {
        self.after = run;
        self
    }
}

/// What was claimed.
#[derive(Debug)]
pub struct Claims {
    /// The claims, in the order in which they should be delivered.
    pub claims: Vec<Claim>,
    /// When fewer than the limit were found: how long until the next intent of these queues and versions falls due or a lease
    /// on one runs out. `None` if there is none.
    pub next_in: Option<Duration>,
}

impl Claims {
    /// What was claimed, and when to look again.
    pub fn new(claims: Vec<Claim>, next_in: Option<Duration>) -> Self {
        Claims { claims, next_in }
    }
}

/// A claimed intent and the run that it belongs to, read after the claim was made.
#[derive(Debug)]
pub struct Claim {
    /// The right to carry it out.
    pub lease: Lease,
    /// The run, which the claims on it share; `None` if the claimer has it at hand. An error concerns this run alone: a row that
    /// cannot be read harms no other claim.
    pub state: Result<Option<Arc<RunState>>, StoreError>,
}

impl Claim {
    /// A claim on a run.
    pub fn new(lease: Lease, state: Result<Option<Arc<RunState>>, StoreError>) -> Self {
        Claim { lease, state }
    }
}

/// The answer to claiming one intent by its key.
#[derive(Debug)]
#[non_exhaustive]
pub enum SingleClaim {
    /// It is yours.
    Claimed(Box<Claim>),
    /// There is no such intent: its target is done, or was never dispatched.
    Absent,
    /// It falls due later.
    NotDue,
    /// Another holds it.
    Held,
}

impl SingleClaim {
    /// The claim, or why there is none.
    ///
    /// # Errors
    /// The reason for which a delivery of the intent is skipped.
    pub fn claimed(self) -> Result<Box<Claim>, SkipReason> {
        match self {
            SingleClaim::Claimed(claim) => Ok(claim),
            SingleClaim::Absent => Err(SkipReason::NoIntent),
            SingleClaim::NotDue => Err(SkipReason::NotDue),
            SingleClaim::Held => Err(SkipReason::Held),
        }
    }
}
