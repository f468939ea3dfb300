//! Commands inside the host's own transaction: the host's rows and the run's change commit or vanish together.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::command::Scope;
use super::decide::Announcement;
use super::{CancelRun, Decide, Runtime, StartRun, Unblock};
use crate::engine::Verdict;
use crate::{RunId, StoreSession};

/// The runtime joined to a transaction of the host. Made by [`Squidmesh::within`](crate::Squidmesh::within).
///
/// Take [`Joined::into_after_commit`], commit the transaction, then call [`AfterCommit::committed`] so that events are told
/// and workers wake. If the host forgets, the work is found by the workers' next look into the store; only the events are lost.
pub struct Joined<'a> {
    runtime: Arc<Runtime>,
    session: &'a dyn StoreSession,
    after: AfterCommit,
}

impl<'a> Joined<'a> {
    pub(super) fn new(runtime: Arc<Runtime>, session: &'a dyn StoreSession) -> Self {
        Joined { after: AfterCommit { runtime: runtime.clone(), pending: Mutex::default() }, runtime, session }
    }

    /// As [`Squidmesh::start_run`](crate::Squidmesh::start_run), in the transaction.
    pub fn start_run<P: Serialize + ?Sized>(&self, workflow: &str, payload: &P) -> StartRun<'_> {
        StartRun::new(self.runtime.clone(), workflow, payload).within(self.session, &self.after)
    }

    /// As [`Squidmesh::cancel_run`](crate::Squidmesh::cancel_run), in the transaction.
    pub fn cancel_run(&self, id: RunId) -> CancelRun<'_> {
        CancelRun::new(self.scope(), id)
    }

    /// As [`Squidmesh::unblock_run`](crate::Squidmesh::unblock_run), in the transaction.
    pub fn unblock_run(&self, id: RunId) -> Unblock<'_> {
        Unblock::new(self.scope(), id)
    }

    /// As [`Squidmesh::approve_run`](crate::Squidmesh::approve_run), in the transaction.
    pub fn approve_run(&self, id: RunId) -> Decide<'_> {
        Decide::new(self.scope(), id, Verdict::Approve)
    }

    /// As [`Squidmesh::reject_run`](crate::Squidmesh::reject_run), in the transaction.
    pub fn reject_run(&self, id: RunId) -> Decide<'_> {
        Decide::new(self.scope(), id, Verdict::Reject)
    }

    /// Ends the joining, so that the host can commit; the rest is for afterwards.
    pub fn into_after_commit(self) -> AfterCommit {
        self.after
    }

    fn scope(&self) -> Scope<'_> {
        Scope { runtime: self.runtime.clone(), within: Some((self.session, &self.after)) }
    }
}

/// What is to be told once the host's transaction is committed.
#[must_use = "call `committed` after the transaction is committed"]
pub struct AfterCommit {
    runtime: Arc<Runtime>,
    pending: Mutex<Announcement>,
}

impl AfterCommit {
    pub(super) fn add(&self, announcement: Announcement) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(announcement);
    }

    /// The transaction is committed: events are told and workers wake.
    pub fn committed(self) {
        self.runtime.tell(&self.pending.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    /// The transaction was rolled back: nothing is told.
    pub fn rolled_back(self) {}
}
