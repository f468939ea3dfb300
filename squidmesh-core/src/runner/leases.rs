//! The leases that this process holds, and their heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::Runtime;
use crate::{CancelReason, Cancellation, Lease};

/// How many leases are extended by one call to the store.
const BATCH: usize = 500;

/// The leases under which this process carries something out, each with the signal to its handler.
#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<BTreeMap<Lease, Cancellation>>,
}

/// A lease that is kept alive as long as this exists.
pub(super) struct Held {
    leases: Arc<Leases>,
    lease: Lease,
    pub(super) cancellation: Cancellation,
}

impl Leases {
    /// Keeps a lease alive until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Self>, lease: &Lease) -> Held {
        let cancellation = Cancellation::new();
        self.lock().insert(lease.clone(), cancellation.clone());
        Held { leases: self.clone(), lease: lease.clone(), cancellation }
    }

    /// Extends all held leases every heartbeat, in batches, and tells the handlers of those that were lost.
    pub(super) async fn keep(&self, runtime: &Runtime) {
        loop {
            runtime.clock.sleep(runtime.config.heartbeat).await;
            let held: Vec<Lease> = self.lock().keys().cloned().collect();
            for batch in held.chunks(BATCH) {
                match runtime.store.extend(batch, runtime.config.lease).await {
                    Ok(kept) => self.tell_lost(batch, &kept),
                    Err(error) => {
                        tracing::warn!(target: "squidmesh", %error, "leases could not be extended; the next heartbeat tries again");
                    }
                }
            }
        }
    }

    fn tell_lost(&self, batch: &[Lease], kept: &[bool]) {
        let held = self.lock();
        let lost = batch.iter().zip(kept).filter(|(_, kept)| !**kept);
        for cancellation in lost.filter_map(|(lease, _)| held.get(lease)) {
            cancellation.cancel(CancelReason::LeaseLost);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Lease, Cancellation>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The lease.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.lease);
    }
}
