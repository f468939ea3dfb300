//! Tells a step handler that its work is no longer wanted.
//!
//! Knows no async runtime: it can be awaited on any. Never interrupts anything by itself.

use std::fmt;
use std::sync::{Arc, OnceLock};

use event_listener::Event;
use serde::{Deserialize, Serialize};

/// A signal that is given at most once and seen by every clone.
#[derive(Clone, Default)]
pub struct Cancellation {
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    reason: OnceLock<CancelReason>,
    given: Event,
}

impl Cancellation {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Only the first reason counts; giving it again changes nothing.
    pub fn cancel(&self, reason: CancelReason) {
        if self.signal.reason.set(reason).is_ok() {
            self.signal.given.notify(usize::MAX);
        }
    }

    /// Whether the signal has been given.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the signal was given, if it was.
    pub fn reason(&self) -> Option<CancelReason> {
        self.signal.reason.get().copied()
    }

    /// Waits until the signal is given, and says why. Returns at once if it already was. Dropping the future is harmless.
    pub async fn cancelled(&self) -> CancelReason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            // Listen first, look again after: a signal given between the two is not missed.
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
    /// Another worker may have taken the step over: whatever this one does now cannot be recorded.
    LeaseLost,
    /// The process is shutting down and will not wait much longer.
    ShuttingDown,
    /// Somebody cancelled the run. The step may finish; its output is kept and nothing follows.
    RunCancelled,
    /// The step has used up the time that its definition gives it.
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
    fn the_first_reason_counts() {
        let cancellation = Cancellation::new();
        cancellation.cancel(CancelReason::TimedOut);
        cancellation.cancel(CancelReason::ShuttingDown);
        assert_eq!(cancellation.reason(), Some(CancelReason::TimedOut));
    }
}
