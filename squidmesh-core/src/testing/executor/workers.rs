//! Workers that need no async runtime: they run inside the future that polls them.

use std::future::Future;
use std::time::Duration;

use event_listener::Event;
use futures_util::FutureExt;
use futures_util::future::{Either, pending, select, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cancellation::Cancellation;
use crate::port::Clock;
use crate::runner::{DeliveryOutcome, Runner};
use crate::testing::ManualClock;

/// The maximum number of concurrent deliveries.
const WORKERS: usize = 8;
/// The interval, by the manual clock, at which the store is polled for work that was not announced.
const POLL: Duration = Duration::from_secs(1);
/// The time, by the manual clock, that running deliveries have to finish after a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Delivers due work until `shutdown`, then gives running deliveries their time to finish and interrupts the rest.
pub(super) async fn run(announced: &Event, clock: &ManualClock, runner: &Runner, shutdown: &Cancellation) {
    let mut working = FuturesUnordered::new();
    while !shutdown.is_cancelled() {
        if working.len() == WORKERS {
            select(working.next(), Box::pin(shutdown.cancelled())).await;
            continue;
        }
        // Listening before claiming avoids missing an announcement between the two.
        let announcement = announced.listen();
        let mut committed = runner.work_notified().boxed();
        if (&mut committed).now_or_never().is_some() {
            committed = runner.work_notified().boxed(); // that was before the claim, which will find it
        }
        // Waits count from before the claim, so that time that passes during the claim is not waited for again.
        let asked_at = clock.now();
        let wait = match runner.claim(WORKERS - working.len()).await {
            Ok(found) if shutdown.is_cancelled() => {
                if let Err(error) = runner.release(found.claims).await {
                    tracing::debug!(target: "squidmesh", %error, "claims were left to their lease");
                }
                break;
            }
            Ok(found) => {
                working.extend(found.claims.into_iter().map(|claim| runner.deliver(claim)));
                found.next_in
            }
            Err(error) => {
                tracing::debug!(target: "squidmesh", %error, "nothing could be claimed");
                None
            }
        };
        let look_again = asked_at.after(wait.map_or(POLL, |wait| wait.min(POLL)));
        let due = clock.sleep_until(look_again).boxed();
        let shut = async {
            shutdown.cancelled().await;
        };
        select_all([one_ends(&mut working).boxed(), announcement.boxed(), committed, due, shut.boxed()]).await;
    }
    runner.drain();
    let in_time = matches!(select(all_end(&mut working).boxed(), clock.sleep(SHUTDOWN_TIMEOUT)).await, Either::Left(_));
    if !in_time {
        runner.interrupt();
        all_end(&mut working).await;
    }
}

/// Completes when one delivery has ended; never completes if there is none.
async fn one_ends(working: &mut FuturesUnordered<impl Future<Output = DeliveryOutcome> + Send>) {
    if working.next().await.is_none() {
        pending().await
    }
}

async fn all_end(working: &mut FuturesUnordered<impl Future<Output = DeliveryOutcome> + Send>) {
    while working.next().await.is_some() {}
}
