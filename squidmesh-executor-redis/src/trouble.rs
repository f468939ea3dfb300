//! Says once that something does not work, and once that it works again, however often it is tried meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use redis::RedisError;

/// From so many failures in a row on it is trouble. One alone may be a connection that was closed because it had nothing to do, or a
/// stream that is made again by the next try.
const TROUBLE: u32 = 2;

/// What is tried again and again.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What does not work when it fails, and works again afterwards.
    what: &'static str,
    failures: AtomicU32,
}

impl Trouble {
    pub(crate) fn with(what: &'static str) -> Self {
        Trouble { what, failures: AtomicU32::new(0) }
    }

    /// It failed. Names the kind of the error only: what else is in it may be of the address.
    pub(crate) fn failed(&self, error: &RedisError) {
        let what = self.what;
        let before =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| Some(count.saturating_add(1)));
        if before == Ok(TROUBLE - 1) {
            tracing::warn!(target: "squidmesh", kind = kind(error), code = error.code(), "{what}: trouble; tried until it works, and told then");
        } else {
            tracing::debug!(target: "squidmesh", %error, "{what}: it failed; tried again shortly");
        }
    }

    /// It worked.
    pub(crate) fn worked(&self) {
        // It works nearly always: then nothing is written.
        if self.failures.load(Ordering::SeqCst) > 0 && self.failures.swap(0, Ordering::SeqCst) >= TROUBLE {
            let what = self.what;
            tracing::info!(target: "squidmesh", "{what}: it works again");
        }
    }
}

/// What kind of error it is, in words.
fn kind(error: &RedisError) -> &str {
    match error {
        error if error.is_connection_refusal() => "connection refused",
        error if error.is_timeout() => "timed out",
        error if error.is_connection_dropped() => "connection lost",
        error => error.category(),
    }
}
