//! Lets a handler ask whether its work still counts.
//!
//! Leases are extended by the runtime without help; this is for the moment before an effect that must not happen twice.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::cancellation::{CancelReason, Cancellation};

type Renewal = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// A sign of life that a handler can give, and the answer to it. Optional: the runtime keeps the lease of a running step
/// by itself.
#[derive(Clone)]
pub struct Heartbeat {
    cancellation: Cancellation,
    renewal: Option<Arc<Renewal>>,
}

impl Heartbeat {
    /// A heartbeat that only looks whether the cancellation was given.
    pub fn following(cancellation: Cancellation) -> Self {
        Self { cancellation, renewal: None }
    }

    /// A heartbeat that extends the lease at each beat; the renewal answers whether this worker still holds it.
    pub fn renewing<F, Fut>(cancellation: Cancellation, renew: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self { cancellation, renewal: Some(Arc::new(move || Box::pin(renew()))) }
    }

    /// Makes sure, as far as it can be known, that the outcome of this attempt would still be recorded. Worth calling right
    /// before an effect outside the database.
    ///
    /// # Errors
    /// [`Stopped`] if the attempt was cancelled or its lease is lost.
    pub async fn beat(&self) -> Result<(), Stopped> {
        if let (false, Some(renewal)) = (self.cancellation.is_cancelled(), &self.renewal)
            && !renewal().await
        {
            self.cancellation.cancel(CancelReason::LeaseLost);
        }
        match self.cancellation.reason() {
            Some(reason) => Err(Stopped { reason }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("cancellation", &self.cancellation).finish_non_exhaustive()
    }
}

/// The attempt should not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attempt should stop: {reason}")]
pub struct Stopped {
    reason: CancelReason,
}

impl Stopped {
    /// Why.
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
        assert_eq!(heartbeat.beat().now_or_never(), Some(Err(Stopped { reason: CancelReason::ShuttingDown })));
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_cancels_the_attempt() {
        let cancellation = Cancellation::new();
        let heartbeat = Heartbeat::renewing(cancellation.clone(), || std::future::ready(false));
        assert_eq!(heartbeat.beat().now_or_never(), Some(Err(Stopped { reason: CancelReason::LeaseLost })));
        assert_eq!(cancellation.reason(), Some(CancelReason::LeaseLost));
    }
}
