//! Leases: the results of extending them, which of them a claim may take over, and heartbeats over connections of
//! their own.

use std::time::Duration;

use async_trait::async_trait;

use super::error::StoreError;
use crate::dispatch::Lease;
use crate::port::LeaseToken;
use crate::run::RunStatus;

/// The result of extending a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// The lease is held, and was extended. Holds the last committed status of its run; `None` if the run cannot be
    /// read.
    Held(Option<RunStatus>),
    /// The lease is no longer held: it was settled, released, or taken over.
    Lost,
}

impl LeaseState {
    /// Returns whether the lease is held.
    pub fn is_held(self) -> bool {
        matches!(self, LeaseState::Held(_))
    }

    /// Returns whether the lease is held and its run is cancelled or being cancelled.
    pub fn is_cancelled(self) -> bool {
        matches!(self, LeaseState::Held(Some(RunStatus::Cancelling | RunStatus::Cancelled)))
    }
}

/// Selects the expired leases that a claim may take over. Unheld intents may always be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takeover {
    /// All except those under these tokens: the claimer still executes what they hold.
    Except(Vec<LeaseToken>),
    /// None: their owners could not extend them through no fault of their own.
    Nothing,
}

impl Takeover {
    /// Returns whether an expired lease under a token may be taken over.
    pub fn allows(&self, token: LeaseToken) -> bool {
        match self {
            Takeover::Except(own) => !own.contains(&token),
            Takeover::Nothing => false,
        }
    }
}

/// Allows every expired lease.
impl Default for Takeover {
    fn default() -> Self {
        Takeover::Except(Vec::new())
    }
}

/// Extends leases independently of the store's other calls. Created by
/// [`Store::heartbeats`](super::Store::heartbeats).
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Extends leases, as [`Store::extend_leases`](super::Store::extend_leases) does. An empty list still checks that
    /// leases could be extended.
    ///
    /// # Errors
    /// [`StoreError`]: any of them may have been extended.
    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError>;
}
