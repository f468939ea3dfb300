//! Running a handler: caged, within its timeout, and notified before it is dropped.
//!
//! Knows when a handler ends; never what that means for its step.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{self, Either};
use tracing::{Instrument, Span};

use super::shared::Runner;
use crate::cage::{self, Caged, Panic};
use crate::cancellation::{CancelReason, Cancellation};

/// How an execution ended.
pub(super) enum Ended<T> {
    Returned(T),
    Panicked(Panic),
    TimedOut,
    Interrupted,
}

impl Runner {
    /// Runs a handler until it returns, its timeout expires, or this worker is interrupted. After its timeout, a
    /// handler that watches for it has a grace period to stop; the attempt has timed out even if it returns then.
    pub(super) async fn bounded<'a, T>(
        &self,
        call: impl FnOnce() -> Pin<Box<dyn Future<Output = T> + Send + 'a>>,
        span: Span,
        timeout: Option<Duration>,
        cancellation: &Cancellation,
    ) -> Ended<T> {
        if self.draining.is_cancelled() {
            cancellation.cancel(CancelReason::ShuttingDown);
        }
        let mut handler = match cage::call(call) {
            Ok(handler) => Caged::new(handler.instrument(span)),
            Err(panic) => return Ended::Panicked(panic),
        };
        let timer = async {
            match timeout {
                Some(timeout) => self.runtime.clock.sleep(timeout).await,
                None => future::pending().await,
            }
        };
        let interrupted = pin!(self.interrupted.cancelled());
        match future::select(&mut handler, future::select(pin!(timer), interrupted)).await {
            Either::Left((Ok(returned), _)) => Ended::Returned(returned),
            Either::Left((Err(panic), _)) => Ended::Panicked(panic),
            Either::Right((Either::Left(((), interrupted)), _)) => {
                cancellation.cancel(CancelReason::TimedOut);
                if cancellation.is_watched() {
                    let grace = self.runtime.clock.sleep(self.runtime.config.timeout_grace);
                    future::select(handler, future::select(grace, interrupted)).await;
                }
                Ended::TimedOut
            }
            Either::Right((Either::Right(_), _)) => Ended::Interrupted,
        }
    }
}
