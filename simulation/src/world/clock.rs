//! Clocks: the database's, which is right, and those of processes, which are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::{Clock, Timestamp};

use super::stage::Stage;

/// A clock that shows another time than the stage's, and may jump. Waits are as long as they should be.
pub(crate) struct SimClock {
    stage: Arc<Stage>,
    skew: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(stage: Arc<Stage>, skew_millis: i64) -> Arc<Self> {
        Arc::new(SimClock { stage, skew: AtomicI64::new(skew_millis) })
    }

    /// From now on it is wrong by so much.
    pub(crate) fn jump(&self, skew_millis: i64) {
        self.skew.store(skew_millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.stage.now().as_millis() + self.skew.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.stage.sleep(duration).await;
    }
}
