//! The clock port: the only source of time.

use std::time::Duration;

use async_trait::async_trait;

use crate::time::Timestamp;

/// Returns the time and waits for time to pass.
///
/// The executor provides the clock, because it owns the async runtime. This clock stamps records and bounds waits
/// inside the process. The store's clock, never this one, decides what is due and which leases have expired.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Completes once `duration` has passed. Dropping the future early is harmless.
    async fn sleep(&self, duration: Duration);
}
