//! Clocks: the database's, which is right, and those of processes, which are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::Timestamp;
use squidmesh_core::port::Clock;

use super::scheduler::Scheduler;

/// A clock that shows another time than the virtual one, and may jump. Sleeps take their correct duration.
pub(crate) struct SimClock {
    scheduler: Arc<Scheduler>,
    skew: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(scheduler: Arc<Scheduler>, skew_millis: i64) -> Arc<Self> {
        Arc::new(SimClock { scheduler, skew: AtomicI64::new(skew_millis) })
    }

    /// Sets the error of the clock from now on.
    pub(crate) fn jump(&self, skew_millis: i64) {
        self.skew.store(skew_millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.scheduler.now().as_millis() + self.skew.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.scheduler.sleep(duration).await;
    }
}
