//! Lets a handler check whether its attempt still counts.
//!
//! The runtime extends leases by itself; this is for the moment before an effect that must not happen twice.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::cancellation::{CancelReason, Cancellation};

type Renewal = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// Checks on demand whether an attempt still counts. Optional: the runtime extends the lease of a running step by
/// itself.
#[derive(Clone)]
pub struct Heartbeat {
    cancellation: Cancellation,
    renewal: Option<Arc<Renewal>>,
}

impl Heartbeat {
    /// Creates a heartbeat that only checks the cancellation.
    pub fn following(cancellation: Cancellation) -> Self {
        Self { cancellation, renewal: None }
    }

    /// Creates a heartbeat that extends the lease at each beat. The renewal returns whether this worker still
    /// holds the lease.
    pub fn renewing<F, Fut>(cancellation: Cancellation, renew: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self { cancellation, renewal: Some(Arc::new(move || Box::pin(renew()))) }
    }

    /// Checks, as far as it can be known, that the outcome of this attempt would still be recorded. Worth calling
    /// right before an effect outside the database.
    ///
    /// # Errors
    /// [`AttemptCancelled`] if the attempt was cancelled or its lease is lost.
    pub async fn beat(&self) -> Result<(), AttemptCancelled> {
        if let (false, Some(renewal)) = (self.cancellation.is_cancelled(), &self.renewal)
            && !renewal().await
        {
            self.cancellation.cancel(CancelReason::LeaseLost);
        }
        match self.cancellation.reason() {
            Some(reason) => Err(AttemptCancelled { reason }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("cancellation", &self.cancellation).finish_non_exhaustive()
    }
}

/// The error of an attempt that should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attempt should stop: {reason}")]
pub struct AttemptCancelled {
    reason: CancelReason,
}

impl AttemptCancelled {
    /// Returns why the attempt should stop.
    pub fn reason(&self) -> CancelReason {
        self.reason
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_beat_passes_until_the_attempt_is_cancelled() {
        let cancellation = Cancellation::new();
        let heartbeat = Heartbeat::following(cancellation.clone());
        assert_eq!(heartbeat.beat().now_or_never(), Some(Ok(())));
        cancellation.cancel(CancelReason::ShuttingDown);
        assert_eq!(heartbeat.beat().now_or_never(), Some(Err(AttemptCancelled { reason: CancelReason::ShuttingDown })));
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_cancels_the_attempt() {
        let cancellation = Cancellation::new();
        let heartbeat = Heartbeat::renewing(cancellation.clone(), || std::future::ready(false));
        assert_eq!(heartbeat.beat().now_or_never(), Some(Err(AttemptCancelled { reason: CancelReason::LeaseLost })));
        assert_eq!(cancellation.reason(), Some(CancelReason::LeaseLost));
    }
}
