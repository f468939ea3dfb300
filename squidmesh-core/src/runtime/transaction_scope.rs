//! Commands inside the host's own transaction: the host's rows and the run's change are committed or rolled back
//! together.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::scope::Scope;
use super::{AfterCommit, CancelRun, DecideApproval, Runtime, SignalKey, SignalRun, StartRun, UnblockRun};
use crate::engine::ApprovalDecision;
use crate::id::RunId;
use crate::port::StoreSession;
use crate::workflow::WorkflowRef;

/// The runtime joined to a transaction of the host. Created by [`Squidmesh::within`](crate::Squidmesh::within).
///
/// Call [`TransactionScope::into_after_commit`], commit the transaction, then call [`AfterCommit::committed`] so that
/// events are emitted and workers wake. If the host omits the last call, workers find the work at their next poll of
/// the store; only the events are lost.
///
/// A call that returns a [`StoreError`](crate::port::StoreError) may have changed a part of the transaction: roll it back.
pub struct TransactionScope<'a> {
    runtime: Arc<Runtime>,
    timeout: Duration,
    session: &'a dyn StoreSession,
    after: AfterCommit,
}

impl<'a> TransactionScope<'a> {
    pub(crate) fn new(runtime: Arc<Runtime>, timeout: Duration, session: &'a dyn StoreSession) -> Self {
        TransactionScope { after: AfterCommit::new(runtime.clone()), runtime, timeout, session }
    }

    /// Starts a run in the transaction, as [`Squidmesh::start_run`](crate::Squidmesh::start_run) does.
    pub fn start_run<P: Serialize + ?Sized>(&self, workflow: impl AsRef<str>, payload: &P) -> StartRun<'_> {
        StartRun::new(self.runtime.clone(), workflow.as_ref(), payload)
            .timeout(self.timeout)
            .within(self.session, &self.after)
    }

    /// Starts a run in the transaction, as [`Squidmesh::start`](crate::Squidmesh::start) does.
    pub fn start<P: Serialize, R>(&self, workflow: WorkflowRef<P, R>, payload: &P) -> StartRun<'_> {
        self.start_run(workflow.name(), payload)
    }

    /// Cancels a run in the transaction, as [`Squidmesh::cancel_run`](crate::Squidmesh::cancel_run) does.
    pub fn cancel_run(&self, id: RunId) -> CancelRun<'_> {
        CancelRun::new(self.scope(), id)
    }

    /// Unblocks a run in the transaction, as [`Squidmesh::unblock_run`](crate::Squidmesh::unblock_run) does.
    pub fn unblock_run(&self, id: RunId) -> UnblockRun<'_> {
        UnblockRun::new(self.scope(), id)
    }

    /// Approves in the transaction, as [`Squidmesh::approve_run`](crate::Squidmesh::approve_run) does.
    pub fn approve_run(&self, id: RunId) -> DecideApproval<'_> {
        DecideApproval::new(self.scope(), id, ApprovalDecision::Approve)
    }

    /// Rejects in the transaction, as [`Squidmesh::reject_run`](crate::Squidmesh::reject_run) does.
    pub fn reject_run(&self, id: RunId) -> DecideApproval<'_> {
        DecideApproval::new(self.scope(), id, ApprovalDecision::Reject)
    }

    /// Sends a signal to a run in the transaction, as [`Squidmesh::signal_run`](crate::Squidmesh::signal_run) does: the
    /// host's rows, the signal and the step that it completes are committed together.
    pub fn signal_run<P: Serialize + ?Sized>(&self, id: RunId, signal: impl AsRef<str>, payload: &P) -> SignalRun<'_> {
        SignalRun::new(self.scope(), id, signal.as_ref(), payload)
    }

    /// Sends a signal by a key in the transaction, as [`Squidmesh::signal_key`](crate::Squidmesh::signal_key) does.
    pub fn signal_key<P: Serialize + ?Sized>(
        &self,
        workflow: impl AsRef<str>,
        key: impl AsRef<str>,
        signal: impl AsRef<str>,
        payload: &P,
    ) -> SignalKey<'_> {
        SignalKey::new(self.scope(), workflow.as_ref(), key.as_ref(), signal.as_ref(), payload)
    }

    /// Ends the scope, so that the host can commit. Returns what to call afterwards.
    pub fn into_after_commit(self) -> AfterCommit {
        self.after
    }

    fn scope(&self) -> Scope<'_> {
        Scope { runtime: self.runtime.clone(), timeout: self.timeout, within: Some((self.session, &self.after)) }
    }
}
