//! The end of a lane: what runs may finish, then it is cut off.

use std::time::Duration;

use squidmesh_core::Runner;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long handlers that were cut off may take to be recorded as interrupted.
const INTERRUPT: Duration = Duration::from_secs(5);

/// Waits until the workers have ended, at most for `patience` and what it takes to interrupt them.
pub(crate) async fn drain(runner: &Runner, mut working: JoinSet<()>, patience: Duration) {
    runner.drain();
    if timeout(patience, ended(&mut working)).await.is_ok() {
        return;
    }
    runner.interrupt();
    if timeout(INTERRUPT, ended(&mut working)).await.is_err() {
        tracing::warn!(target: "squidmesh", left = working.len(), "workers did not end in time; their leases run out by themselves");
        working.abort_all();
    }
}

async fn ended(working: &mut JoinSet<()>) {
    while working.join_next().await.is_some() {}
}
