//! A gate that handlers wait at until the test opens it.

use tokio::sync::watch;

/// Counts the arrivals, and lets them pass once it is open.
#[derive(Debug)]
pub struct Gate {
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { arrived: watch::Sender::new(0), open: watch::Sender::new(false) }
    }
}

impl Gate {
    /// Arrives, and waits until the gate is open.
    pub async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        self.open.subscribe().wait_for(|open| *open).await.expect("the gate exists");
    }

    /// Waits until `count` handlers have arrived.
    pub async fn arrived(&self, count: usize) {
        self.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.expect("the gate exists");
    }

    /// Returns the number of arrivals so far.
    pub fn count(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Lets every handler pass, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
