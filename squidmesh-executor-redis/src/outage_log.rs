//! Logs once that an operation fails, and once that it works again, regardless of the number of retries.

use std::sync::atomic::{AtomicU32, Ordering};

use redis::RedisError;

/// The number of consecutive failures that is logged. A single failure may be a connection that was
/// closed because it was idle, or a stream that the next attempt creates again.
const LOGGED_FAILURES: u32 = 2;

/// An operation that is retried until it succeeds.
#[derive(Debug)]
pub(crate) struct OutageLog {
    /// The operation, as logged.
    what: &'static str,
    failures: AtomicU32,
}

impl OutageLog {
    pub(crate) fn new(what: &'static str) -> Self {
        OutageLog { what, failures: AtomicU32::new(0) }
    }

    /// Records a failure. Logs the kind of the error and the server's message; other parts may contain the
    /// address.
    pub(crate) fn failed(&self, error: &RedisError) {
        let what = self.what;
        let before =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| Some(count.saturating_add(1)));
        if before == Ok(LOGGED_FAILURES - 1) {
            tracing::warn!(target: "squidmesh", kind = kind(error), code = error.code(), cause = cause(error), "{what} fails; retrying until it succeeds");
        } else {
            tracing::debug!(target: "squidmesh", %error, "{what} failed; retrying shortly");
        }
    }

    /// Records a success.
    pub(crate) fn succeeded(&self) {
        // The common case must not write.
        if self.failures.load(Ordering::SeqCst) > 0 && self.failures.swap(0, Ordering::SeqCst) >= LOGGED_FAILURES {
            let what = self.what;
            tracing::info!(target: "squidmesh", "{what} works again");
        }
    }
}

/// Returns the kind of an error, in words.
fn kind(error: &RedisError) -> &str {
    match error {
        error if error.is_connection_refusal() => "connection refused",
        error if error.is_timeout() => "timed out",
        error if error.is_connection_dropped() => "connection lost",
        error => error.category(),
    }
}

/// Returns the server's message.
fn cause(error: &RedisError) -> Option<&str> {
    error.code().and_then(|_| error.detail())
}
