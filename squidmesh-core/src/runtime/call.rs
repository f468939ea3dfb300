//! Calls of a host: each ends within its timeout, with a result that states what is known by then.
//!
//! A timeout ends the waiting and nothing else. If a commit was sent by then, it may yet be applied, and the call
//! ends with [`StoreError::OutcomeUnknown`]; otherwise nothing was changed, and it ends with
//! [`StoreError::Unavailable`].

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::lock::lock;
use crate::port::{Clock, StoreError};

/// The call did not end within its timeout. The source of the [`StoreError`] that the call returns.
#[derive(Debug, thiserror::Error)]
#[error("the call did not end within {after:?}")]
#[non_exhaustive]
pub struct CallTimedOut {
    /// The timeout: [`Config::call_timeout`](crate::Config::call_timeout), unless the call set another.
    pub after: Duration,
    /// The last error of the store, if any.
    #[source]
    pub last: Option<Box<dyn Error + Send + Sync>>,
}

/// One call of a host.
#[derive(Debug)]
pub(crate) struct Call {
    timeout: Duration,
    /// The number of sent commits that may have been applied, or may yet be.
    open: AtomicUsize,
    last: Mutex<Option<StoreError>>,
}

impl Call {
    /// Creates a call with this timeout.
    pub(crate) fn new(timeout: Duration) -> Self {
        Call { timeout, open: AtomicUsize::new(0), last: Mutex::default() }
    }

    /// Returns the timeout.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Records that a change is sent to the store.
    pub(super) fn record_sent(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that the outcome of a sent change is known.
    pub(super) fn record_answer(&self) {
        let _ = self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(1));
    }

    /// Records why the outcome is unknown.
    pub(super) fn record_error(&self, error: &StoreError) {
        *lock(&self.last) = Some(error.copy());
    }

    /// Runs `work` within the timeout. `doing` names the operation in errors.
    pub(crate) async fn bound<T, E: From<StoreError>>(
        &self,
        clock: &dyn Clock,
        doing: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.bound_by(&mut Timer::new(clock, self.timeout), doing, work).await
    }

    /// Runs `work` within the rest of a timer.
    pub(super) async fn bound_by<T, E: From<StoreError>>(
        &self,
        timer: &mut Timer<'_>,
        doing: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(ended) = work.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            // A call that does not wait sets no timer.
            timer.poll(context).map(|()| Err(self.timeout_error(doing).into()))
        })
        .await
    }

    /// Returns the error of a call that times out now.
    pub(super) fn timeout_error(&self, doing: &'static str) -> StoreError {
        let last = lock(&self.last).take();
        let source = Box::new(CallTimedOut { after: self.timeout, last: last.map(Into::into) });
        match self.open.load(Ordering::SeqCst) {
            0 => StoreError::Unavailable { doing, source },
            _ => StoreError::OutcomeUnknown { source },
        }
    }
}

/// A timer that starts when it is first polled.
pub(super) struct Timer<'a> {
    clock: &'a dyn Clock,
    timeout: Duration,
    sleep: Option<BoxFuture<'a, ()>>,
    over: bool,
}

impl<'a> Timer<'a> {
    pub(super) fn new(clock: &'a dyn Clock, timeout: Duration) -> Self {
        Timer { clock, timeout, sleep: None, over: false }
    }

    /// Returns whether the time has elapsed.
    pub(super) async fn is_over(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll(context).is_ready())).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.over {
            let sleep = self.sleep.get_or_insert_with(|| self.clock.sleep(self.timeout));
            self.over = sleep.as_mut().poll(context).is_ready();
        }
        if self.over { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;
    use crate::definition::secs;
    use crate::testing::ManualClock;

    fn ended(sends: usize, answers: usize) -> StoreError {
        let (clock, call) = (ManualClock::default(), Call::new(secs(3)));
        (0..sends).for_each(|_| call.record_sent());
        (0..answers).for_each(|_| call.record_answer());
        let mut bound = Box::pin(call.bound(&clock, "waiting", pending::<Result<(), StoreError>>()));
        assert!((&mut bound).now_or_never().is_none());
        clock.advance(secs(3));
        bound.now_or_never().expect("its time is over").unwrap_err()
    }

    #[test]
    fn what_was_never_sent_was_not_changed() {
        let error = ended(0, 0);
        assert!(matches!(error, StoreError::Unavailable { doing: "waiting", .. }), "{error:?}");
        let source = Error::source(&error).and_then(|source| source.downcast_ref::<CallTimedOut>());
        assert_eq!(source.map(|timed_out| timed_out.after), Some(secs(3)));
        assert!(matches!(ended(2, 2), StoreError::Unavailable { .. }));
    }

    #[test]
    fn what_was_sent_may_be_carried_out_as_long_as_one_answer_is_missing() {
        assert!(matches!(ended(2, 1), StoreError::OutcomeUnknown { .. }));
    }

    #[test]
    fn a_call_that_need_not_wait_sets_no_timer() {
        let (clock, call) = (ManualClock::default(), Call::new(Duration::ZERO));
        let answer = call.bound(&clock, "answering", async { Ok::<_, StoreError>(7) });
        assert_eq!(answer.now_or_never().expect("it is answered at once").unwrap(), 7);
        assert_eq!(clock.next_deadline(), None);
    }
}
