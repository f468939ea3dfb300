//! Claims: what workers request from a store, and what they get.
//!
//! Knows which intents are wanted and for how long; never how they are executed.

use std::sync::Arc;
use std::time::Duration;

use super::error::StoreError;
use super::lease::Takeover;
use crate::definition::Fingerprint;
use crate::dispatch::{IntentKey, Lease};
use crate::event::IgnoreReason;
use crate::id::RunId;
use crate::name::QueueName;
use crate::port::LeaseToken;
use crate::run::RunSnapshot;

/// Selects the intents to claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The queues to claim from.
    pub queues: Vec<QueueName>,
    /// The workflow versions to claim for. Intents of other versions are left to processes that have them.
    pub fingerprints: Vec<Fingerprint>,
    /// The maximum number of intents to claim.
    pub limit: usize,
    /// The token that the claims are held under.
    pub token: LeaseToken,
    /// The length of the leases.
    pub lease: Duration,
    /// The runs that the claimer has cached: they need not be loaded.
    pub cached_runs: Vec<RunId>,
    /// Which expired leases may be taken over.
    pub takeover: Takeover,
}

impl ClaimRequest {
    /// Creates a request for up to `limit` intents of these queues and versions.
    pub fn new(
        queues: Vec<QueueName>,
        fingerprints: Vec<Fingerprint>,
        limit: usize,
        token: LeaseToken,
        lease: Duration,
    ) -> Self {
        ClaimRequest {
            queues,
            fingerprints,
            limit,
            token,
            lease,
            cached_runs: Vec::new(),
            takeover: Takeover::default(),
        }
    }

    /// Sets the cached runs: claims on them come without a snapshot.
    #[must_use]
    pub fn cached_runs(mut self, runs: Vec<RunId>) -> Self {
        self.cached_runs = runs;
        self
    }

    /// Sets which expired leases may be taken over.
    #[must_use]
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.takeover = takeover;
        self
    }
}

/// Selects intents to claim by their keys.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClaimKeysRequest {
    /// The keys of the intents.
    pub keys: Vec<IntentKey>,
    /// The token that the claims are held under.
    pub token: LeaseToken,
    /// The length of the leases.
    pub lease: Duration,
    /// The runs that the claimer has cached: they need not be loaded.
    pub cached_runs: Vec<RunId>,
    /// Which expired leases may be taken over.
    pub takeover: Takeover,
}

impl ClaimKeysRequest {
    /// Creates a request for these intents.
    pub fn new(keys: Vec<IntentKey>, token: LeaseToken, lease: Duration) -> Self {
        ClaimKeysRequest { keys, token, lease, cached_runs: Vec::new(), takeover: Takeover::default() }
    }

    /// Sets the cached runs: claims on them come without a snapshot.
    #[must_use]
    pub fn cached_runs(mut self, runs: Vec<RunId>) -> Self {
        self.cached_runs = runs;
        self
    }

    /// Sets which expired leases may be taken over.
    #[must_use]
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.takeover = takeover;
        self
    }
}

/// Selects the stranded runs to list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StrandedRequest {
    /// The known versions: an intent of one of these is not stranded.
    pub known: Vec<Fingerprint>,
    /// How long an intent must have been due, or its lease expired.
    pub due_for: Duration,
    /// If set, only this run.
    pub run: Option<RunId>,
    /// If set, only runs with ids after this one.
    pub after: Option<RunId>,
    /// The maximum number of runs to list.
    pub limit: usize,
}

impl StrandedRequest {
    /// Creates a request for up to `limit` runs with work that has been due for `due_for` and that no known version
    /// can execute.
    pub fn new(known: Vec<Fingerprint>, due_for: Duration, limit: usize) -> Self {
        StrandedRequest { known, due_for, run: None, after: None, limit }
    }

    /// Restricts the request to this run.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Continues after the run with this id.
    #[must_use]
    pub fn after(mut self, run: Option<RunId>) -> Self {
        self.after = run;
        self
    }
}

/// The result of a claim.
#[derive(Debug)]
pub struct ClaimBatch {
    /// The claims, in the order in which they should be delivered.
    pub claims: Vec<Claim>,
    /// If fewer than the limit were found: how long until the next intent of these queues and versions becomes due,
    /// or until the lease on one expires that may be taken over. `None` if there is none.
    pub next_in: Option<Duration>,
}

/// A claimed intent and its run, loaded after the claim was made.
#[derive(Debug)]
pub struct Claim {
    /// The lease on the intent.
    pub lease: Lease,
    /// The run, shared by the claims on it; `None` if the claimer has it cached. An error concerns this run alone: an
    /// unreadable row does not affect other claims.
    pub state: Result<Option<Arc<RunSnapshot>>, StoreError>,
}

/// The result of claiming one intent by its key.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClaimResult {
    /// The intent is claimed.
    Claimed(Box<Claim>),
    /// There is no such intent: its target is done, or was never dispatched.
    Absent,
    /// The intent becomes due later.
    NotDue,
    /// The intent is held, or its lease has expired and may not be taken over.
    Held,
}

impl ClaimResult {
    /// Returns the claim.
    ///
    /// # Errors
    /// The reason why a delivery of the intent is ignored.
    pub fn claimed(self) -> Result<Box<Claim>, IgnoreReason> {
        match self {
            ClaimResult::Claimed(claim) => Ok(claim),
            ClaimResult::Absent => Err(IgnoreReason::NoIntent),
            ClaimResult::NotDue => Err(IgnoreReason::NotDue),
            ClaimResult::Held => Err(IgnoreReason::Held),
        }
    }
}
