//! A cage for the host's code: calls, polls and drops it, and catches its panics.
//!
//! Handlers, sinks, hooks and executors are foreign code, and so are the futures, values and panic payloads that they
//! produce: each may panic when it is called, polled or dropped. A panic that unwinds through the runtime loses
//! everything that was about to be recorded, so every place that touches such code does so through this module;
//! `cargo xtask lint` finds the places that do not. Knows nothing of what it holds.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The maximum number of successive panics to catch while dropping one payload: each may bring another payload that
/// panics.
const PAYLOADS: usize = 16;

/// Calls the host's code.
///
/// # Errors
/// [`Panic`] if it panicked; its payload is dropped here.
pub fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(Panic::caught)
}

/// Drops a value of the host. A panic in its destructor is logged and not propagated.
pub fn discard<T>(value: T) {
    if call(move || drop(value)).is_err() {
        tracing::warn!(target: "squidmesh", value = std::any::type_name::<T>(), "a value panicked while it was dropped");
    }
}

/// A future of the host. It is polled and dropped in the cage: once it has completed or panicked, or with the cage.
///
/// ```
/// use squidmesh_core::port::cage::Caged;
/// use squidmesh_core::testing::block_on;
///
/// let ended = block_on(Caged::new(Box::pin(async { panic!("out of paper") })));
/// assert_eq!(ended.map(|(): ()| ()).unwrap_err().to_string(), "out of paper");
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Caged<F> {
    code: Option<F>,
}

impl<F: Future + Unpin> Caged<F> {
    /// Wraps a future in a cage.
    pub fn new(code: F) -> Self {
        Caged { code: Some(code) }
    }
}

impl<F: Future + Unpin> Future for Caged<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(code) = &mut self.code else {
            return Poll::Ready(Err(Panic { text: Some("it was polled after its end".to_owned()) }));
        };
        let polled = match call(|| Pin::new(code).poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        discard(self.code.take());
        Poll::Ready(polled)
    }
}

impl<F> Drop for Caged<F> {
    fn drop(&mut self) {
        if let Some(code) = self.code.take() {
            discard(code);
        }
    }
}

impl<F> fmt::Debug for Caged<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caged").field("ended", &self.code.is_none()).finish()
    }
}

/// A panic of the host's code. Displayed as its message, which belongs to the host: it may be stored but not logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    text: Option<String>,
}

impl Panic {
    /// Creates a panic from a payload caught elsewhere, such as by an async runtime. Drops the payload in the cage.
    pub fn caught(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        discard_payload(payload);
        Panic { text }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or("(no message)"))
    }
}

impl std::error::Error for Panic {}

fn discard_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..PAYLOADS {
        match catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    // The chain of panics does not end: leak the rest.
    std::mem::forget(payload);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    /// Panics when it is dropped, and counts the drops.
    struct Spiteful(Arc<AtomicUsize>);

    impl Drop for Spiteful {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                self.0.fetch_add(1, Ordering::SeqCst);
                std::panic::panic_any(Endless);
            }
        }
    }

    /// A payload whose drop panics with another payload like it.
    struct Endless;

    impl Drop for Endless {
        fn drop(&mut self) {
            std::panic::panic_any(Endless);
        }
    }

    /// A future that holds a value that panics when it is dropped.
    struct Holding<T>(Option<T>, #[allow(dead_code, reason = "it is there to be dropped")] Spiteful);

    impl<T: Unpin> Future for Holding<T> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
            self.0.take().map_or(Poll::Pending, Poll::Ready)
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_ends_here() {
        let panicked = call(|| std::panic::panic_any(Endless));
        assert_eq!(panicked.unwrap_err().to_string(), "(no message)");
    }

    #[test]
    fn a_future_that_panics_when_it_is_dropped_keeps_its_result() {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut caged = Caged::new(Holding(Some(7), Spiteful(drops.clone())));
        assert_eq!((&mut caged).now_or_never(), Some(Ok(7)));
        drop(caged);
        assert_eq!(drops.load(Ordering::SeqCst), 1, "dropped once");
    }

    #[test]
    fn a_future_is_dropped_in_its_cage_before_its_end() {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut caged = Caged::new(Holding(None::<u8>, Spiteful(drops.clone())));
        assert_eq!((&mut caged).now_or_never(), None);
        drop(caged);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_while_it_is_polled_keeps_its_text() {
        let number = 7;
        for (code, text) in
            [(async { panic!("plain") }.boxed(), "plain"), (async move { panic!("with {number}") }.boxed(), "with 7")]
        {
            let ended: Option<Result<(), Panic>> = Caged::new(code).now_or_never();
            assert_eq!(ended.unwrap().unwrap_err().to_string(), text);
        }
    }
}
