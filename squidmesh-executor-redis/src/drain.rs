//! The end of a lane: running work may finish, and is aborted after the timeout.

use std::time::Duration;

use squidmesh_core::Runner;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long it may take to record aborted handlers as interrupted.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until the workers have ended, for at most `limit` and the time needed to interrupt them.
pub(crate) async fn drain(runner: &Runner, mut working: JoinSet<()>, limit: Duration) {
    runner.drain();
    if timeout(limit, ended(&mut working)).await.is_ok() {
        return;
    }
    runner.interrupt();
    if timeout(INTERRUPT_TIMEOUT, ended(&mut working)).await.is_err() {
        tracing::warn!(target: "squidmesh", left = working.len(), "workers did not stop in time; their leases will expire");
        working.abort_all();
    }
}

async fn ended(working: &mut JoinSet<()>) {
    while working.join_next().await.is_some() {}
}
