//! Signals: from the call that sends one to the handler that it releases, and how many many waiting runs receive.

use std::time::{Duration, Instant};

use serde_json::json;
use squidmesh_core::inspect::Reason;
use squidmesh_core::{RunId, Squidmesh};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;

use super::drive::{CONCURRENCY, joined};
use crate::database::{Database, Recorded};
use crate::failure::Failure;
use crate::figure::Round;
use crate::recorder::Recorder;
use crate::workflows;

/// The steps of a run: the wait, and the handler that follows.
const STEPS: usize = 2;

/// The number of concurrent senders.
const SENDERS: usize = 256;

/// The number of starts in one call.
const BATCH: usize = 1_000;

/// Sends one signal after another, each to a run that waits for it while nothing else happens.
pub(crate) async fn alone(database: &Database, runs: usize) -> Result<Round, Failure> {
    round(database, runs, async |_, mesh, recorder| {
        for number in 1..=runs {
            let run = mesh.start_run("signalled", &json!({})).await?.id;
            while mesh.explain_run(run).await?.reason != Reason::WaitingForSignal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            recorder.leave(run); // the hop begins
            mesh.signal_run(run, "go", &json!({})).await?;
            recorder.completed(number, Duration::from_secs(60)).await?;
        }
        Ok(None)
    })
    .await
}

/// Sends one signal to each of many runs that wait, from many callers.
pub(crate) async fn crowd(database: &Database, runs: usize) -> Result<Round, Failure> {
    round(database, runs, async |store, mesh, recorder| {
        let mut waiting: Vec<RunId> = Vec::with_capacity(runs);
        let empty = json!({});
        while waiting.len() < runs {
            let starts = (0..BATCH.min(runs - waiting.len())).map(|_| mesh.start_run("signalled", &empty));
            for started in mesh.start_runs(starts).await {
                waiting.push(started?.id);
            }
        }
        let paused = "SELECT count(*) FROM squidmesh_step_runs WHERE status = 'paused'";
        while usize::try_from(database.count(store, paused).await?)? < runs {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let begun = Instant::now();
        let share = waiting.len().div_ceil(SENDERS).max(1);
        let senders = waiting.chunks(share).map(|share| {
            let (mesh, recorder, share) = (mesh.clone(), recorder.clone(), share.to_vec());
            tokio::spawn(async move {
                for run in share {
                    recorder.leave(run); // the hop begins
                    mesh.signal_run(run, "go", &json!({})).await?;
                }
                Ok(())
            })
        });
        joined(senders.collect()).await?;
        let elapsed = begun.elapsed();
        recorder.completed(runs, Duration::from_secs(120)).await?;
        Ok(Some(elapsed))
    })
    .await
}

async fn round(
    database: &Database,
    runs: usize,
    send: impl AsyncFnOnce(&SeaOrmStore, &Squidmesh, &Recorder) -> Result<Option<Duration>, Failure>,
) -> Result<Round, Failure> {
    let recorder = Recorder::new();
    let before = database.read().await?;
    let sent = {
        let store = database.store().await?;
        let mesh = Squidmesh::builder(store.clone())
            .executor(TokioExecutor::new().concurrency(CONCURRENCY))
            .workflow(workflows::signalled(&recorder)?)
            .event_sink(recorder.clone())
            .build()?;
        let mut sent = Ok(None);
        mesh.run_workers(async { sent = send(&store, &mesh, &recorder).await }).await?;
        sent?
    };
    let after = database.read().await?;
    database.check(&Recorded::default(), runs, runs * STEPS, 1).await?;
    let (p50, p99) = recorder.hops();
    let mut round = after.since(&before, runs * STEPS).with("release p50 ms", p50).with("release p99 ms", p99);
    if let Some(elapsed) = sent {
        round = round.with("signals/s", runs as f64 / elapsed.as_secs_f64());
    }
    Ok(round)
}
