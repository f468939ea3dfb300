//! The limits on how long a call to the database may take.
//!
//! Knows nothing of databases. Unless the host sets a call timeout, it follows the shortest lease under which work
//! is claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The default call timeout; a third of the lease, if that is shorter.
const DEFAULT_CALL: Duration = Duration::from_secs(8);
/// The minimum of the derived call timeout: leases shorter than three seconds are for tests, and a loaded machine
/// is not an unresponsive database.
const MIN_DERIVED_CALL: Duration = Duration::from_secs(1);
/// The default time to get a connection.
const DEFAULT_CONNECT: Duration = Duration::from_secs(3);
/// How much earlier the database itself times out: then it is known that nothing was changed.
const SERVER_MARGIN: Duration = Duration::from_secs(1);

/// The timeouts of a store. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// In milliseconds.
    call: AtomicU64,
    /// Whether the host set it.
    given: bool,
    connect: Duration,
}

/// The timeouts that a host sets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) call: Option<Duration>,
    pub(crate) connect: Option<Duration>,
}

impl Bounds {
    /// The shortest timeout that a host may set.
    pub(crate) const MIN_CALL: Duration = Duration::from_millis(100);

    pub(crate) fn new(wanted: Wanted) -> Self {
        let shared = Shared {
            call: AtomicU64::new(millis(wanted.call.unwrap_or(DEFAULT_CALL))),
            given: wanted.call.is_some(),
            connect: wanted.connect.unwrap_or(DEFAULT_CONNECT),
        };
        Bounds { shared: Arc::new(shared) }
    }

    /// Returns the time within which a statement, or a whole transaction, of the store's own ends.
    pub(crate) fn call(&self) -> Duration {
        Duration::from_millis(self.shared.call.load(Ordering::Relaxed))
    }

    /// Returns the time after which the database itself ends a statement: a second earlier than the store does, or
    /// half the call timeout.
    pub(crate) fn on_the_server(&self) -> Duration {
        let call = self.call();
        call.saturating_sub(SERVER_MARGIN).max(call / 2)
    }

    /// Returns the time within which a connection is acquired.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "the one file of SQLite is opened within a call"))]
    pub(crate) fn connect(&self) -> Duration {
        self.shared.connect.min(self.call())
    }

    /// Adapts the call timeout to the lease of a runtime, or returns why the timeout that the host set does not
    /// fit.
    pub(crate) fn fit(&self, lease: Duration) -> Result<(), String> {
        let call = self.call();
        if self.shared.given {
            return if call <= lease / 2 {
                Ok(())
            } else {
                Err(format!(
                    "its call_timeout of {call:?} is longer than half a lease of {lease:?}, so that leases would expire \
                     during one call: shorten the timeout or lengthen the lease"
                ))
            };
        }
        let fitting = (lease / 3).clamp(MIN_DERIVED_CALL, DEFAULT_CALL);
        self.shared.call.fetch_min(millis(fitting), Ordering::Relaxed);
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_bound_that_nobody_gave_follows_the_shortest_lease() {
        let bounds = Bounds::new(Wanted::default());
        assert_eq!((bounds.call(), bounds.on_the_server(), bounds.connect()), (secs(8), secs(7), secs(3)));
        assert_eq!(bounds.fit(secs(30)), Ok(()));
        assert_eq!(bounds.call(), secs(8));
        assert_eq!(bounds.fit(secs(3)), Ok(()));
        assert_eq!(
            (bounds.call(), bounds.on_the_server(), bounds.connect()),
            (secs(1), Duration::from_millis(500), secs(1))
        );
        assert_eq!(bounds.fit(Duration::from_millis(300)), Ok(()));
        assert_eq!(bounds.fit(secs(60)), Ok(()));
        assert_eq!(bounds.call(), secs(1));
    }

    #[test]
    fn a_bound_that_the_host_gave_must_fit_the_lease() {
        let bounds = Bounds::new(Wanted { call: Some(secs(20)), connect: None });
        assert_eq!(bounds.fit(secs(40)), Ok(()));
        assert!(bounds.fit(secs(30)).is_err_and(|reason| reason.contains("20s") && reason.contains("30s")));
        assert_eq!(bounds.call(), secs(20));
    }
}
