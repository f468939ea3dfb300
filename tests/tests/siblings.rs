//! Two siblings that finish at the same instant never lose their join: ten thousand tries on each store. The two
//! steps of each run wait for each other and then end together, in one of two runtimes that share the store.
//!
//! And many siblings that begin and end together do so in a few commits, although no process has their run cached.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::{EventSink, Store};
use squidmesh_core::testing::{InterceptedStore, MemoryStore};
use squidmesh_core::{RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};
use squidmesh_executor_tokio::{SystemClock, TokioExecutor};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{CallCounter, TestDatabase, block_on};
use tokio::sync::{Barrier, Semaphore};

const TRIES: usize = 10_000;
/// The number of concurrent runs. Each runtime alone could execute all their siblings, so that none waits for ever
/// for one that has no free worker.
const OPEN: usize = 128;

/// Where the two siblings of each run meet, and how often each run was joined.
#[derive(Default)]
struct Meetings {
    barriers: Mutex<HashMap<RunId, Arc<Barrier>>>,
    joined: Mutex<HashMap<RunId, usize>>,
}

impl Meetings {
    fn workflow(self: &Arc<Self>) -> Workflow {
        let sibling = |name: &str| {
            let meetings = self.clone();
            Step::new(name, move |_: Value, context: StepContext| {
                let meetings = meetings.clone();
                async move {
                    let barrier = meetings.barrier(context.run_id);
                    barrier.wait().await;
                    StepResult::Ok(json!({ context.step.as_str(): true }))
                }
            })
        };
        let meetings = self.clone();
        let join = Step::new("join", move |input: Value, context: StepContext| {
            assert_eq!(input, json!({"left": true, "right": true}), "both outputs are there");
            *meetings.joined.lock().unwrap().entry(context.run_id).or_default() += 1;
            async { StepResult::Ok(()) }
        });
        Workflow::builder("siblings")
            .trigger(Trigger::manual("manual"))
            .step(sibling("left"))
            .step(sibling("right"))
            .step(join.after(["left", "right"]))
            .build()
            .unwrap()
    }

    fn barrier(&self, run: RunId) -> Arc<Barrier> {
        self.barriers.lock().unwrap().entry(run).or_insert_with(|| Arc::new(Barrier::new(2))).clone()
    }
}

/// Makes room for another run when one has ended.
struct Ends(Arc<Semaphore>);

impl EventSink for Ends {
    fn emit(&self, event: &Event) {
        if matches!(event.kind, EventKind::RunTransition { to, .. } if to.is_terminal()) {
            self.0.add_permits(1);
        }
    }
}

async fn no_join_is_lost(stores: [Arc<dyn Store>; 2]) {
    let meetings = Arc::new(Meetings::default());
    let room = Arc::new(Semaphore::new(OPEN));
    let meshes = stores.map(|store| {
        Squidmesh::builder(store)
            .executor(TokioExecutor::new().concurrency(2 * OPEN).poll_interval(Duration::from_millis(20)))
            .workflow(meetings.workflow())
            .event_sink(Ends(room.clone()))
            .build()
            .unwrap()
    });
    let begun = Instant::now();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers = meshes.clone().map(|mesh| {
        let mut stopped = stopped.clone();
        tokio::spawn(async move { mesh.run_workers(async { drop(stopped.wait_for(|stop| *stop).await) }).await })
    });
    let all = async {
        for number in 0..TRIES {
            room.acquire().await.unwrap().forget();
            let mesh = meshes[number % 2].clone();
            tokio::spawn(async move { mesh.start_run("siblings", &json!({})).await.unwrap() });
        }
        drop(room.acquire_many(OPEN as u32).await.unwrap()); // every run has ended
    };
    let in_time = tokio::time::timeout(Duration::from_secs(200), all).await;
    let joined = meetings.joined.lock().unwrap().clone();
    if in_time.is_err() {
        let open = meshes[0].list_runs(&RunFilter::new().status(RunStatus::Running).limit(3)).await.unwrap();
        for run in open.runs {
            eprintln!("{:#?}", meshes[0].inspect_run(run.id).await.unwrap());
        }
        panic!("a join was lost: after {:?} only {} of {TRIES} were made", begun.elapsed(), joined.len());
    }
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    assert_eq!(meshes.each_ref().map(Squidmesh::held_states), [0, 0], "what no worker holds is not kept");
    eprintln!("{TRIES} joins took {:?}", begun.elapsed());
    assert_eq!(joined.len(), TRIES);
    assert!(joined.values().all(|times| *times == 1), "no join is made twice");
    let mut completed = 0;
    let mut filter = RunFilter::new().status(RunStatus::Completed).limit(1_000);
    loop {
        let page = meshes[0].list_runs(&filter).await.unwrap();
        completed += page.runs.len();
        match page.next {
            Some(next) => filter = filter.after(next),
            None => break,
        }
    }
    assert_eq!(completed, TRIES);
}

async fn no_join_is_lost_in(database: TestDatabase) {
    let one: Arc<dyn Store> = Arc::new(SeaOrmStore::connect(database.url()).await.unwrap());
    let other: Arc<dyn Store> = Arc::new(SeaOrmStore::connect(database.url()).await.unwrap());
    no_join_is_lost([one, other]).await;
}

const WIDTH: usize = 200;

fn wide() -> Workflow {
    let nothing = |name: &str| Step::new(name, async |_: Value, _: StepContext| StepResult::Ok(()));
    let names: Vec<String> = (0..WIDTH).map(|number| format!("sibling-{number}")).collect();
    let builder = Workflow::builder("wide").trigger(Trigger::manual("manual")).step(nothing("split"));
    let builder = names.iter().fold(builder, |builder, name| builder.step(nothing(name).after(["split"])));
    builder.step(nothing("join").after(names.iter().map(String::as_str))).build().unwrap()
}

async fn siblings_share_commits(database: TestDatabase) {
    let store = SeaOrmStore::connect(database.url()).await.unwrap();
    let store = InterceptedStore::new(store, CallCounter::without_runs());
    let ended = Arc::new(Semaphore::new(0));
    let mesh = Squidmesh::builder(store.clone())
        .executor(TokioExecutor::new().concurrency(WIDTH))
        .workflow(wide())
        .event_sink(Ends(ended.clone()))
        .build()
        .unwrap();
    mesh.start_run("wide", &json!({})).await.unwrap();
    mesh.run_workers(async { ended.acquire().await.unwrap().forget() }).await.unwrap();
    let commits = store.interceptor().take()["commit"];
    eprintln!("{WIDTH} siblings took {commits} commits");
    // How many share one depends on how fast the database commits. Alone, each takes one to begin and one to end.
    assert!(commits < WIDTH, "{commits} commits for {WIDTH} siblings");
}

mod memory {
    use super::*;

    #[test]
    fn siblings_that_finish_together_never_lose_their_join() {
        block_on(async {
            let store = MemoryStore::new(Arc::new(SystemClock));
            no_join_is_lost([Arc::new(store.clone()), Arc::new(store)]).await;
        });
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn siblings_that_finish_together_never_lose_their_join() {
        block_on(no_join_is_lost_in(TestDatabase::sqlite()));
    }

    #[test]
    fn siblings_of_a_run_that_is_not_cached_share_their_commits() {
        block_on(siblings_share_commits(TestDatabase::sqlite()));
    }
}

mod postgres {
    use super::*;

    #[test]
    fn siblings_that_finish_together_never_lose_their_join() {
        block_on(async { no_join_is_lost_in(TestDatabase::postgres().await).await });
    }

    #[test]
    fn siblings_of_a_run_that_is_not_cached_share_their_commits() {
        block_on(async { siblings_share_commits(TestDatabase::postgres().await).await });
    }
}
