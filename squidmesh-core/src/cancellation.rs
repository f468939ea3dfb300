//! Notifies a step handler that its work is no longer wanted.
//!
//! Knows no async runtime: it can be awaited on any. Never interrupts anything itself.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use event_listener::Event;
use serde::{Deserialize, Serialize};

/// A signal that is given at most once and observed by every clone.
#[derive(Clone, Default)]
pub struct Cancellation {
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    reason: OnceLock<CancelReason>,
    given: Event,
    /// Whether any clone has ever been checked or awaited.
    watched: AtomicBool,
    /// Whether any clone has observed the signal.
    seen: AtomicBool,
}

impl Cancellation {
    /// Creates a signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Only the first reason counts; giving it again changes nothing.
    pub fn cancel(&self, reason: CancelReason) {
        if self.signal.reason.set(reason).is_ok() {
            self.signal.given.notify(usize::MAX);
        }
    }

    /// Returns whether the signal has been given.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Returns why the signal was given; `None` if it was not.
    pub fn reason(&self) -> Option<CancelReason> {
        self.signal.watched.store(true, Ordering::Relaxed);
        let reason = self.signal.reason.get().copied();
        if reason.is_some() {
            self.signal.seen.store(true, Ordering::Relaxed);
        }
        reason
    }

    /// Returns whether any clone has ever been checked: a handler that never does gains nothing from a grace period.
    pub(crate) fn is_watched(&self) -> bool {
        self.signal.watched.load(Ordering::Relaxed)
    }

    /// Returns whether the signal was given for this reason, and observed.
    pub(crate) fn was_seen(&self, reason: CancelReason) -> bool {
        self.signal.reason.get() == Some(&reason) && self.signal.seen.load(Ordering::Relaxed)
    }

    /// Waits until the signal is given and returns its reason; returns at once if it was given already. Dropping the
    /// future is harmless.
    pub async fn cancelled(&self) -> CancelReason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            // Listen first, then check: a signal given between the two is not missed.
            let given = self.signal.given.listen();
            if let Some(reason) = self.reason() {
                return reason;
            }
            given.await;
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation").field(&self.reason()).finish()
    }
}

/// Why a step handler should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelReason {
    /// Another worker may have taken the step over: nothing that this one does now can be recorded.
    LeaseLost,
    /// The process is shutting down. The step may finish within the executor's drain time, and its outcome is
    /// recorded as always. A retryable error returned after observing this signal is recorded as an interruption,
    /// which does not count as an attempt.
    ShuttingDown,
    /// The run was cancelled. The step may finish; its output is kept and no step follows.
    RunCancelled,
    /// The step has exceeded its timeout. The attempt has failed, regardless of what the handler returns; a handler that
    /// watches for this has [`Config::timeout_grace`](crate::Config::timeout_grace) to stop before it is dropped.
    TimedOut,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "the lease was lost",
            Self::ShuttingDown => "the process is shutting down",
            Self::RunCancelled => "the run was cancelled",
            Self::TimedOut => "the step ran out of time",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_waiting_clone_sees_the_signal() {
        let cancellation = Cancellation::new();
        let clone = cancellation.clone();
        let mut waiting = Box::pin(clone.cancelled());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        cancellation.cancel(CancelReason::LeaseLost);
        assert_eq!(waiting.now_or_never(), Some(CancelReason::LeaseLost));
    }

    #[test]
    fn who_looks_is_known_and_what_was_seen() {
        let cancellation = Cancellation::new();
        assert!(!cancellation.is_watched());
        assert!(!cancellation.clone().is_cancelled() && cancellation.is_watched());
        cancellation.cancel(CancelReason::ShuttingDown);
        assert!(!cancellation.was_seen(CancelReason::ShuttingDown), "no handler has looked since");
        assert!(cancellation.clone().is_cancelled());
        assert!(cancellation.was_seen(CancelReason::ShuttingDown) && !cancellation.was_seen(CancelReason::TimedOut));
    }

    #[test]
    fn the_first_reason_counts() {
        let cancellation = Cancellation::new();
        cancellation.cancel(CancelReason::TimedOut);
        cancellation.cancel(CancelReason::ShuttingDown);
        assert_eq!(cancellation.reason(), Some(CancelReason::TimedOut));
    }
}
