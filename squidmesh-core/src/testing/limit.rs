//! The time limit of a case of a suite.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The time limit of a case of the conformance suites, in real time. The slowest ones take seconds.
pub const CASE_TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    /// What the case on this thread waits for.
    static AWAITED: RefCell<Arc<Mutex<String>>> = RefCell::default();
}

/// Notes what the case on this thread waits for from now on, for the message if it never happens.
pub(super) fn awaiting(what: impl Into<String>) {
    AWAITED.with_borrow(|awaited| *awaited.lock().unwrap_or_else(PoisonError::into_inner) = what.into());
}

/// Runs a case to its end on its own thread.
///
/// The thread of a case that does not end is left behind: nothing can end a case that waits for an event that never
/// happens.
///
/// # Panics
/// Panics if the case panics, or has not ended within `timeout` of real time.
#[allow(clippy::panic, clippy::expect_used, reason = "this is how a test fails")]
pub fn run_case(timeout: Duration, case: impl FnOnce() + Send + 'static) {
    // Uses the name of the test's own thread: panic messages begin with it.
    let name = thread::current().name().unwrap_or("a case").to_owned();
    // Nothing is ever sent: the channel closes when the case has ended, one way or another.
    let (running, ended): (Sender<()>, Receiver<()>) = channel();
    let awaited = Arc::new(Mutex::new("something that never happens".to_owned()));
    let noted = Arc::clone(&awaited);
    let thread = thread::Builder::new().name(name.clone()).spawn(move || {
        let _running = running;
        AWAITED.set(noted);
        case();
    });
    let thread = thread.expect("a thread can be started");
    if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(timeout) {
        let awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
        panic!("{name} has not ended within {timeout:?}: it waits for {awaited}");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::testing::block_on;

    fn message_of(case: impl FnOnce() + Send + 'static, timeout: Duration) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(|| run_case(timeout, case))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
    }

    #[test]
    fn a_case_that_ends_passes() {
        assert_eq!(message_of(|| {}, CASE_TIMEOUT), None);
    }

    #[test]
    fn a_case_that_panics_fails_with_its_message() {
        assert_eq!(message_of(|| panic!("as it must"), CASE_TIMEOUT).unwrap(), "as it must");
    }

    #[test]
    fn a_case_that_waits_for_ever_fails_with_its_name() {
        let message = message_of(|| block_on(std::future::pending()), Duration::from_millis(20)).unwrap();
        assert!(message.contains("a_case_that_waits_for_ever_fails_with_its_name"), "{message}");
        assert!(message.contains("has not ended within 20ms"), "{message}");
    }

    #[test]
    fn a_case_that_waits_for_ever_fails_with_what_it_awaits() {
        let case = || {
            awaiting("a step that is never delivered");
            block_on(std::future::pending())
        };
        let message = message_of(case, Duration::from_millis(200)).unwrap();
        assert!(message.ends_with("it waits for a step that is never delivered"), "{message}");
    }

    #[test]
    fn a_case_that_blocks_its_thread_fails_as_well() {
        let case = || loop {
            thread::park();
        };
        assert!(message_of(case, Duration::from_millis(20)).unwrap().contains("has not ended"));
    }
}
