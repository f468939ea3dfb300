//! Starts alone, without workers: one a call, in batches, and in transactions of the host.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use serde_json::json;
use squidmesh_core::Squidmesh;
use squidmesh_executor_tokio::TokioExecutor;

use super::drive::{joined, start_singly};
use crate::database::Database;
use crate::failure::Failure;
use crate::figure::Round;
use crate::recorder::Recorder;
use crate::workflows;

/// The number of concurrent transactions of the host: as many as the host's pool has connections.
const HOST_TRANSACTIONS: usize = 8;

/// The number of starts in one call, where there are many.
const BATCH: usize = 1_000;

/// How the runs are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// One start per call, with 256 concurrent callers.
    Single,
    /// Many starts per call.
    Batch,
    /// One start in each transaction of the host, beside a row of the host's.
    InTransaction,
}

pub(crate) async fn round(database: &Database, runs: usize, manner: Manner) -> Result<Round, Failure> {
    if manner == Manner::InTransaction {
        database.execute("CREATE TABLE orders (number BIGINT PRIMARY KEY)").await?;
    }
    let before = database.read().await?;
    let elapsed = {
        let store = database.store().await?;
        let mesh = Squidmesh::builder(store.clone())
            .executor(TokioExecutor::new())
            .workflow(workflows::chain(&Recorder::new(), 5)?)
            .build()?;
        let begun = Instant::now();
        match manner {
            Manner::Single => start_singly(&mesh, "chain", runs).await?,
            Manner::Batch => {
                let empty = json!({});
                for begun in (0..runs).step_by(BATCH) {
                    let starts = (begun..runs.min(begun + BATCH)).map(|_| mesh.start_run("chain", &empty));
                    for started in mesh.start_runs(starts).await {
                        started?;
                    }
                }
            }
            Manner::InTransaction => {
                let callers = (0..HOST_TRANSACTIONS).map(|caller| {
                    let (store, mesh) = (store.clone(), mesh.clone());
                    tokio::spawn(async move {
                        for number in (caller..runs).step_by(HOST_TRANSACTIONS) {
                            let transaction = store.begin().await?;
                            let order = format!("INSERT INTO orders (number) VALUES ({number})");
                            transaction.execute_unprepared(&order).await?;
                            let session = store.join(&transaction);
                            let joined = mesh.within(&session);
                            joined.start_run("chain", &json!({})).await?;
                            let after = joined.into_after_commit();
                            drop(session);
                            transaction.commit().await?;
                            after.committed();
                        }
                        Ok(())
                    })
                });
                joined(callers.collect()).await?;
            }
        }
        begun.elapsed()
    };
    let after = database.read().await?;
    let store = database.store().await?;
    let started = database.count(&store, "SELECT count(*) FROM squidmesh_runs WHERE status = 'pending'").await?;
    if usize::try_from(started)? != runs {
        return Err(format!("{started} of {runs} runs were started").into());
    }
    Ok(after.since(&before, runs).with("starts/s", per_second(runs, elapsed)))
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
