//! The heartbeat thread: one for the whole process, which no handler can block.
//!
//! It is started when workers first run, and never ends. Tasks that the store leaves on it, such as returning a
//! connection to its pool, always complete.
//!
//! The executors on Redis and on tokio each have this file: neither may know the other, and the core knows no tokio.
//! `cargo xtask lint` checks that the files are the same.

use std::future::pending;
use std::sync::OnceLock;
use std::thread;

use squidmesh_core::Runner;
use squidmesh_core::workflow::{CancelReason, Cancellation};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tracing::instrument::WithSubscriber;

/// The async runtime of the thread; `None` if it could not be started.
static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();

/// Extends the leases of the runner's work, on the heartbeat thread, until dropped.
pub(crate) async fn run_heartbeats(runner: Runner) {
    let Some(runtime) = RUNTIME.get_or_init(start) else { return runner.run_heartbeats().await };
    // On the handlers' runtime: it shows whether tasks make progress there.
    let mut pulse = JoinSet::new();
    let beating = runner.clone();
    pulse.spawn(async move { beating.keep_pulse().await });
    let stop = StopOnDrop(Cancellation::new());
    let (kept, stopped) = (runner.clone(), stop.0.clone());
    let beats = runtime.spawn(async move { kept.run_heartbeats_until(&stopped).await }.with_current_subscriber());
    if let Err(error) = beats.await {
        tracing::error!(target: "squidmesh", %error, "the heartbeat thread stopped; heartbeats continue on the handlers' runtime");
        runner.run_heartbeats().await;
    }
}

/// Ends the heartbeats, but not a pending call to the store.
struct StopOnDrop(Cancellation);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::ShuttingDown);
    }
}

fn start() -> Option<Handle> {
    let started = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let handle = runtime.handle().clone();
        let forever = move || runtime.block_on(pending::<()>());
        thread::Builder::new().name("squidmesh-heartbeats".to_owned()).spawn(forever).map(|_| handle)
    });
    match started {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::error!(
                target: "squidmesh",
                %error,
                "cannot start the heartbeat thread: handlers that block their threads may lose their leases"
            );
            None
        }
    }
}
