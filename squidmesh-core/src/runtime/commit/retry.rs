//! How long to retry while the store is unavailable, or the answer to a commit is lost.
//!
//! Knows errors and the clock. Never knows what is retried.

use std::time::Duration;

use crate::port::{Clock, StoreError};
use crate::runtime::Call;

/// The delay before the first retry; it doubles from then on.
const FIRST_DELAY: Duration = Duration::from_millis(25);
/// The longest delay between two retries.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// What to retry, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy<'a> {
    /// How long to retry while the store is unavailable or loses answers.
    unavailable: Duration,
    /// How long to look for a commit whose answer is lost.
    lost_answer: Duration,
    /// The host's call that waits, if any. It counts the changes that are sent and not answered.
    call: Option<&'a Call>,
}

impl<'a> RetryPolicy<'a> {
    /// The policy of a host's call: retrying an unavailable store is left to the host; a lost answer is looked up
    /// until the call times out.
    pub(crate) fn fail_fast(call: &'a Call) -> Self {
        RetryPolicy { unavailable: Duration::ZERO, lost_answer: call.timeout(), call: Some(call) }
    }

    /// The policy of a worker: it retries for this long, since losing an outcome is worse than waiting.
    pub(crate) fn retry_for(duration: Duration) -> Self {
        RetryPolicy { unavailable: duration, lost_answer: duration, call: None }
    }

    /// Returns the host's call, if there is one.
    pub(super) fn call(self) -> Option<&'a Call> {
        self.call
    }

    /// Records that a change is sent to the store.
    pub(super) fn record_sent(self) {
        if let Some(call) = self.call {
            call.record_sent();
        }
    }

    /// Records that the outcome of a sent change is known.
    pub(super) fn record_answer(self) {
        if let Some(call) = self.call {
            call.record_answer();
        }
    }
}

/// The remaining time to retry.
pub(crate) struct RetryBudget<'a> {
    policy: RetryPolicy<'a>,
    waited: Duration,
    next_delay: Duration,
}

impl<'a> RetryBudget<'a> {
    pub(crate) fn new(policy: RetryPolicy<'a>) -> Self {
        RetryBudget { policy, waited: Duration::ZERO, next_delay: FIRST_DELAY }
    }

    pub(super) fn policy(&self) -> RetryPolicy<'a> {
        self.policy
    }

    /// Waits before another try, or returns the error if another try is of no use.
    pub(crate) async fn wait(&mut self, clock: &dyn Clock, error: StoreError) -> Result<(), StoreError> {
        let retried = matches!(error, StoreError::OutcomeUnknown { .. } | StoreError::Unavailable { .. });
        if !retried || self.waited >= self.policy.unavailable {
            return Err(error);
        }
        self.delay(clock).await;
        Ok(())
    }

    /// Waits before another check of a commit whose answer is lost; returns that error once the time is over.
    pub(in crate::runtime) async fn wait_for_answer(
        &mut self,
        clock: &dyn Clock,
        lost: &StoreError,
    ) -> Result<(), StoreError> {
        if self.waited >= self.policy.lost_answer {
            return Err(lost.copy());
        }
        self.delay(clock).await;
        Ok(())
    }

    async fn delay(&mut self, clock: &dyn Clock) {
        clock.sleep(self.next_delay).await;
        self.waited += self.next_delay;
        self.next_delay = (self.next_delay * 2).min(MAX_DELAY);
    }
}
