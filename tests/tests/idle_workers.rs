//! Changes begin the steps that they dispatch for idle workers of their process: a start its first step, an outcome the
//! branches that it opens.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::collections::BTreeMap;
use std::future::pending;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use squidmesh_core::command::StartError;
use squidmesh_core::inspect::RunDetails;
use squidmesh_core::port::{Commit, CommitOutcome, Precondition, Store, StoreError};
use squidmesh_core::run::AttemptStatus;
use squidmesh_core::testing::{InterceptedStore, MemoryStore, StoreInterceptor};
use squidmesh_core::{
    COMPLETE, Run, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, secs,
};
use squidmesh_executor_tokio::{SystemClock, TokioExecutor};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{Gate, TestDatabase, block_on};
use tokio::time::{sleep, timeout};

/// How long anything may take; well below the lease of 30 seconds, so that nothing waits for one to expire.
const PROMPT: Duration = secs(10);
/// The steps that may begin when the first one has completed.
const BRANCHES: [&str; 3] = ["left", "middle", "right"];
/// The number of runs, where there are many.
const RUNS: usize = 300;
/// How long workers need until they are idle.
const IDLE: Duration = Duration::from_millis(50);

/// What happens to the next commit that starts a run.
#[derive(Clone, Copy)]
enum Fate {
    /// It is refused, and changes nothing.
    Refused,
    /// It is applied, and its answer is lost.
    AnswerLost,
    /// It is applied, and never answered.
    NoAnswer,
    /// It is applied, and answered when the gate is open.
    AnsweredLate,
}

/// Intercepts the commits that start runs, and counts the calls of each method.
#[derive(Default)]
struct Starts {
    fate: Mutex<Option<Fate>>,
    applied: Gate,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl Starts {
    fn next(&self, fate: Fate) {
        *self.fate.lock().unwrap() = Some(fate);
    }

    /// Returns how often a method was called since the last time.
    fn take(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[async_trait]
impl StoreInterceptor for Starts {
    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        *self.calls.lock().unwrap().entry(method).or_default() += 1;
        Ok(())
    }

    async fn commit(
        &self,
        store: &dyn Store,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let is_start = commits.iter().any(|commit| commit.precondition == Precondition::Absent);
        let fate = self.fate.lock().unwrap().take_if(|_| is_start);
        match fate {
            None => store.commit(commits).await,
            Some(Fate::Refused) => {
                Err(StoreError::Unavailable { doing: "starting", source: "the test refuses it".into() })
            }
            Some(Fate::AnswerLost) => {
                store.commit(commits).await?;
                Err(StoreError::OutcomeUnknown { source: "the test loses it".into() })
            }
            Some(Fate::NoAnswer) => {
                store.commit(commits).await?;
                self.applied.pass().await;
                pending().await
            }
            Some(Fate::AnsweredLate) => {
                let answer = store.commit(commits).await;
                self.applied.pass().await;
                answer
            }
        }
    }
}

/// A runtime with a few workers, and workflows of two steps in a row and of branches.
struct World {
    mesh: Squidmesh,
    store: InterceptedStore<Starts>,
}

impl World {
    fn new(store: impl Store) -> World {
        World::with_workers(store, 1)
    }

    fn with_workers(store: impl Store, workers: usize) -> World {
        let store = InterceptedStore::new(store, Starts::default());
        let step = |name| Step::new(name, |_: Value, _: StepContext| async { StepResult::Ok(json!({})) });
        let workflow = Workflow::builder("two")
            .trigger(Trigger::manual("manual"))
            .step(step("first"))
            .step(step("second"))
            .then("first", "second")
            .then("second", COMPLETE)
            .build()
            .unwrap();
        let branches = BRANCHES.into_iter().fold(Workflow::builder("branches").step(step("root")), |builder, name| {
            builder.step(step(name).after(["root"]))
        });
        let branches = branches.step(step("join").after(BRANCHES)).trigger(Trigger::manual("manual")).build().unwrap();
        let executor = TokioExecutor::new().concurrency(workers);
        let builder = Squidmesh::builder(store.clone()).executor(executor).workflow(workflow).workflow(branches);
        let mesh = builder.build().unwrap();
        World { mesh, store }
    }

    fn starts(&self) -> &Starts {
        self.store.interceptor()
    }

    async fn start(&self) -> Result<Run, StartError> {
        self.mesh.start_run("two", &json!({})).await
    }

    /// Runs workers while a future completes, which must be soon.
    async fn working<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mesh = self.mesh.clone();
        let workers = tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await });
        let done = timeout(PROMPT * 4, meanwhile).await;
        drop(stop);
        timeout(PROMPT, workers).await.expect("the workers drain").unwrap().unwrap();
        done.expect("it does not take that long")
    }

    /// Waits until a run has completed, and checks that each of its steps took one attempt.
    async fn completes(&self, run: RunId) {
        let attempts = self.attempts_of_completed(run).await;
        assert!(
            attempts.iter().all(|attempt| *attempt == AttemptStatus::Completed),
            "no attempt is lost: {attempts:?}"
        );
    }

    async fn attempts_of_completed(&self, run: RunId) -> Vec<AttemptStatus> {
        let begun = Instant::now();
        loop {
            let details = self.mesh.inspect_run(run).await.unwrap();
            if details.run.status.is_terminal() {
                assert_eq!(details.run.status, RunStatus::Completed);
                return attempts(&details);
            }
            assert!(begun.elapsed() < PROMPT, "{details:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts runs until one has begun at once: until the workers are idle.
    async fn starts_at_once(&self) -> Run {
        let begun = Instant::now();
        loop {
            sleep(IDLE).await;
            self.starts().take();
            let run = self.start().await.unwrap();
            if run.status == RunStatus::Running {
                return run;
            }
            self.completes(run.id).await;
            assert!(begun.elapsed() < PROMPT, "no worker is ever idle");
        }
    }

    /// Starts runs one after another until one takes this number of commits, and no claim. Others may, as long as workers
    /// are not idle, or if one looks for work at that moment.
    async fn takes_commits(&self, workflow: &str, commits: RangeInclusive<usize>) {
        let begun = Instant::now();
        loop {
            sleep(IDLE).await;
            self.starts().take();
            let run = self.mesh.start_run(workflow, &json!({})).await.unwrap();
            self.completes(run.id).await;
            let calls = self.starts().take();
            if calls.get("commit").is_some_and(|count| commits.contains(count)) && !calls.contains_key("claim") {
                return;
            }
            assert!(begun.elapsed() < PROMPT, "{calls:?}");
        }
    }

    /// Waits until the workers are idle.
    async fn idle(&self) {
        let run = self.starts_at_once().await;
        self.completes(run.id).await;
        sleep(IDLE).await;
    }
}

fn attempts(details: &RunDetails) -> Vec<AttemptStatus> {
    details.steps.iter().flat_map(|step| &step.attempts).map(|attempt| attempt.status).collect()
}

async fn a_run_of_two_steps_is_three_commits_and_no_claim(store: impl Store) {
    let world = World::new(store);
    world.working(world.takes_commits("two", 3..=3)).await;
}

async fn branches_are_begun_in_the_commit_that_opens_them(store: impl Store) {
    let world = World::with_workers(store, BRANCHES.len());
    // The start, the first step, the branches together or one by one, and the join.
    world.working(world.takes_commits("branches", 4..=6)).await;
}

/// Workers claim, begin and hand over at once, in all threads.
async fn many_runs_with_branches_complete(store: impl Store) {
    let world = World::with_workers(store, 16);
    world
        .working(async {
            let starts = (0..RUNS).map(|_| world.mesh.start_run("branches", &json!({})));
            for started in world.mesh.start_runs(starts).await {
                assert_eq!(world.attempts_of_completed(started.unwrap().id).await, [AttemptStatus::Completed; 5]);
            }
        })
        .await;
}

/// With fewer idle workers than branches, the others are claimed.
async fn branches_without_an_idle_worker_are_claimed(store: impl Store) {
    let world = World::with_workers(store, 2);
    world
        .working(async {
            world.idle().await;
            let run = world.mesh.start_run("branches", &json!({})).await.unwrap();
            assert_eq!(world.attempts_of_completed(run.id).await, [AttemptStatus::Completed; 5]);
        })
        .await;
}

async fn a_refused_start_leaves_its_worker_idle(store: impl Store) {
    let world = World::new(store);
    world
        .working(async {
            world.idle().await;
            world.starts().next(Fate::Refused);
            assert!(matches!(world.start().await, Err(StartError::Store(StoreError::Unavailable { .. }))));
            sleep(IDLE).await;
            let run = world.start().await.unwrap();
            assert_eq!(run.status, RunStatus::Running, "there is one worker, and it is idle");
            world.completes(run.id).await;
        })
        .await;
}

async fn a_start_whose_answer_is_lost_is_executed_at_once(store: impl Store) {
    let world = World::new(store);
    world
        .working(async {
            world.idle().await;
            world.starts().next(Fate::AnswerLost);
            let run = world.start().await.unwrap();
            assert_eq!(run.status, RunStatus::Running);
            world.completes(run.id).await;
        })
        .await;
}

async fn a_start_whose_caller_goes_away_is_executed_at_once(store: impl Store) {
    let world = World::new(store);
    world
        .working(async {
            world.idle().await;
            world.starts().next(Fate::NoAnswer);
            tokio::select! {
                answer = world.start() => panic!("it is not answered: {answer:?}"),
                () = world.starts().applied.arrived(1) => {}
            }
            let page = world.mesh.list_runs(&squidmesh_core::RunFilter::new().limit(1)).await.unwrap();
            world.completes(page.runs.first().expect("the newest run").id).await;
        })
        .await;
}

/// The future of the start is kept, and not polled again.
async fn a_start_whose_caller_does_not_wait_is_executed_soon(store: impl Store) {
    let world = World::new(store);
    world
        .working(async {
            world.idle().await;
            world.starts().next(Fate::AnsweredLate);
            let mut start = Box::pin(world.start());
            tokio::select! {
                answer = &mut start => panic!("it is not answered: {answer:?}"),
                () = world.starts().applied.arrived(1) => {}
            }
            world.starts().applied.open();
            let page = world.mesh.list_runs(&squidmesh_core::RunFilter::new().limit(1)).await.unwrap();
            world.completes(page.runs.first().expect("the newest run").id).await;
            assert_eq!(start.await.unwrap().status, RunStatus::Running, "as it was when it was started");
        })
        .await;
}

async fn workers_that_drain_execute_what_a_start_has_begun(store: impl Store) {
    let world = World::new(store);
    let (started, begun) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let start = async {
        begun.await.unwrap();
        world.start().await.unwrap()
    };
    let drain = async {
        world
            .working(async {
                world.idle().await;
                world.starts().next(Fate::AnsweredLate);
                started.take().unwrap().send(()).unwrap();
                world.starts().applied.arrived(1).await;
            })
            .await;
    };
    let open = async {
        world.starts().applied.arrived(1).await;
        sleep(IDLE).await; // the workers drain meanwhile
        world.starts().applied.open();
    };
    let (run, (), ()) = tokio::join!(start, drain, open);
    let details = world.mesh.inspect_run(run.id).await.unwrap();
    assert_eq!(attempts(&details), [AttemptStatus::Completed], "no worker begins a successor while it drains");
    world.working(world.completes(run.id)).await;
}

macro_rules! on {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() {
                super::block_on(super::$test(super::MemoryStore::new(super::Arc::new(super::SystemClock))));
            })*
        }
        mod sqlite {
            $(#[test] fn $test() {
                super::block_on(async {
                    let database = super::TestDatabase::sqlite();
                    super::$test(super::SeaOrmStore::connect(database.url()).await.unwrap()).await;
                });
            })*
        }
        mod postgres {
            $(#[test] fn $test() {
                super::block_on(async {
                    let database = super::TestDatabase::postgres().await;
                    super::$test(super::SeaOrmStore::connect(database.url()).await.unwrap()).await;
                });
            })*
        }
    };
}

on! {
    a_run_of_two_steps_is_three_commits_and_no_claim
    branches_are_begun_in_the_commit_that_opens_them
    branches_without_an_idle_worker_are_claimed
    many_runs_with_branches_complete
    a_refused_start_leaves_its_worker_idle
    a_start_whose_answer_is_lost_is_executed_at_once
    a_start_whose_caller_goes_away_is_executed_at_once
    a_start_whose_caller_does_not_wait_is_executed_soon
    workers_that_drain_execute_what_a_start_has_begun
}
