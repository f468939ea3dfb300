//! The system clock, and tokio's timer.
//!
//! The same file in both executors, as `heartbeat.rs` is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use squidmesh_core::Timestamp;
use squidmesh_core::port::Clock;

/// Reads the time of the operating system; sleeps on tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
