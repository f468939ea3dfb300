//! The clock port: the only source of time.

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;

/// Tells the time and lets time pass.
///
/// The executor brings the clock, because it owns the async runtime. What is due and which lease has run out is never asked
/// of this clock but of the store's; this one stamps records and bounds waits inside the process.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Completes once `duration` has passed. Dropping the future early is harmless.
    async fn sleep(&self, duration: Duration);
}
