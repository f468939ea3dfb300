//! Two signals that look alike: one whose commit is lost is not taken for the other, which was committed.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use squidmesh_core::command::SignalReceipt;
use squidmesh_core::port::{Commit, CommitOutcome, Store, StoreError};
use squidmesh_core::testing::{InterceptedStore, StoreInterceptor};
use squidmesh_core::{COMPLETE, RunId, Signal, Squidmesh, Step, Trigger, Workflow, secs, wait_for};
use squidmesh_tests::{Backend, block_on};

use super::faults::{mesh, within};

/// Loses the first commit that changes signals, after another process has sent the same signal at the same time.
struct LosesOne {
    other: Mutex<Option<(Squidmesh, RunId)>>,
}

#[async_trait]
impl StoreInterceptor for LosesOne {
    async fn commit(
        &self,
        store: &dyn Store,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let other = match commits.iter().any(|commit| commit.signals.is_some()) {
            true => self.other.lock().unwrap().take(),
            false => None,
        };
        let Some((other, run)) = other else { return store.commit(commits).await };
        other.signal_run(run, "paid", &json!({})).await.unwrap();
        Err(StoreError::OutcomeUnknown { source: "the test has lost the commit".into() })
    }
}

fn workflow() -> Workflow {
    let builder = Workflow::builder("pays").trigger(Trigger::manual("go")).signal(Signal::new("paid"));
    builder.step(Step::new("wait", wait_for("paid"))).then("wait", COMPLETE).build().unwrap()
}

#[test]
fn a_lost_signal_is_not_taken_for_another_that_looks_like_it() {
    block_on(async {
        let backend = Backend::memory().await;
        let store = backend.store();
        let other = mesh(&backend, Arc::clone(&store), vec![workflow()]);
        let run = other.start_run("pays", &json!({})).await.unwrap().id;
        let loses = LosesOne { other: Mutex::new(Some((other.clone(), run))) };
        let mesh = mesh(&backend, InterceptedStore::new(store, loses), vec![workflow()]);
        let answer = within(&backend, secs(3), async { mesh.signal_run(run, "paid", &json!({})).await.unwrap() }).await;
        assert_eq!((answer.run, answer.receipt), (run, SignalReceipt::Buffered));
        let details = other.inspect_run(run).await.unwrap();
        assert_eq!(details.signals.len(), 2, "both were acknowledged");
    });
}
