//! Workers that need no async runtime: they live in the future that runs them.

use std::future::Future;
use std::time::Duration;

use event_listener::Event;
use futures_util::FutureExt;
use futures_util::future::{Either, pending, select, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::testing::ManualClock;
use crate::{Cancellation, Clock, Delivery, Runner};

/// How many deliveries are carried out at once.
const WORKERS: usize = 8;
/// How long, by the manual clock, before the store is asked again for work that nobody told of.
const POLL: Duration = Duration::from_secs(1);
/// How long, by the manual clock, what runs may take to finish once it is told to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// Delivers what is due until `shutdown`, then lets what runs finish within its time, and interrupts the rest.
pub(super) async fn run(announced: &Event, clock: &ManualClock, runner: &Runner, shutdown: &Cancellation) {
    let mut working = FuturesUnordered::new();
    while !shutdown.is_cancelled() {
        if working.len() == WORKERS {
            select(working.next(), Box::pin(shutdown.cancelled())).await;
            continue;
        }
        // Listen first, claim after: what is announced between the two is not missed.
        let announcement = announced.listen();
        let mut committed = runner.work_committed().boxed();
        if (&mut committed).now_or_never().is_some() {
            committed = runner.work_committed().boxed(); // that was before the claim, which will find it
        }
        // Waits count from before the claim: what the clock is moved while it lasts is not waited for again.
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
    let in_time = matches!(select(all_end(&mut working).boxed(), clock.sleep(PATIENCE)).await, Either::Left(_));
    if !in_time {
        runner.interrupt();
        all_end(&mut working).await;
    }
}

/// Completes when one delivery has ended; never if there is none.
async fn one_ends(working: &mut FuturesUnordered<impl Future<Output = Delivery> + Send>) {
    if working.next().await.is_none() {
        pending().await
    }
}

async fn all_end(working: &mut FuturesUnordered<impl Future<Output = Delivery> + Send>) {
    while working.next().await.is_some() {}
}
