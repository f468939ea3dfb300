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
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
        Timestamp::from_millis(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
