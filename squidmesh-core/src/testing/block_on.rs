//! Runs futures on plain threads, for tests that need no async runtime.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use event_listener::Event;
use futures_util::future::BoxFuture;

/// Runs a future to completion on the current thread, which sleeps while the future waits.
///
/// Provides no timers and no reactor: a future that needs those of an async runtime must be run by that runtime.
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        // A wake-up that arrives before the thread sleeps is kept as its permit, so none is missed.
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Runs a future on its own thread, at once. The returned future completes with it, and panics if it panicked.
pub fn spawn_thread(work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
    let here = Arc::new((Mutex::new(None), Event::new()));
    let there = Arc::clone(&here);
    thread::spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(|| block_on(work)));
        *there.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        there.1.notify(usize::MAX);
    });
    Box::pin(async move {
        loop {
            // Listening before checking avoids missing an end between the two.
            let ended = here.1.listen();
            let taken = here.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            match taken {
                Some(Ok(())) => return,
                Some(Err(panic)) => resume_unwind(panic),
                None => ended.await,
            }
        }
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancellation::{CancelReason, Cancellation};

    #[test]
    fn a_future_woken_by_another_thread_is_polled() {
        let signal = Cancellation::new();
        let giver = signal.clone();
        let thread = thread::spawn(move || giver.cancel(CancelReason::ShuttingDown));
        assert_eq!(block_on(signal.cancelled()), CancelReason::ShuttingDown);
        thread.join().unwrap();
    }

    #[test]
    fn a_spawned_future_is_joined_without_blocking() {
        use futures_util::FutureExt;

        let gate = Cancellation::new();
        let opened = gate.clone();
        let mut work = spawn_thread(Box::pin(async move {
            opened.cancelled().await;
        }));
        assert!(work.as_mut().now_or_never().is_none());
        gate.cancel(CancelReason::ShuttingDown);
        block_on(work);
    }

    #[test]
    fn the_panic_of_a_spawned_future_is_passed_on() {
        let work = spawn_thread(Box::pin(async { panic!("as it must") }));
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(work))).is_err());
    }
}
