//! Runs a future on the calling thread, for tests that need no async runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs a future to its end on this thread, which sleeps while the future waits.
///
/// Brings no timers and no reactor: a future that needs those of an async runtime must be run by that runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        // A wake-up that comes before the thread sleeps is kept as its permit, so none is missed.
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
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
    use crate::{CancelReason, Cancellation};

    #[test]
    fn a_future_woken_by_another_thread_goes_on() {
        let signal = Cancellation::new();
        let giver = signal.clone();
        let thread = thread::spawn(move || giver.cancel(CancelReason::ShuttingDown));
        assert_eq!(block_on(signal.cancelled()), CancelReason::ShuttingDown);
        thread.join().unwrap();
    }
}
