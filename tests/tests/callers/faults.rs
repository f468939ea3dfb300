//! A runtime over a store that a test makes silent, unavailable, or lose its answers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::pending;
use serde_json::{Value, json};
use squidmesh_core::port::{Executor, Store, StoreError};
use squidmesh_core::testing::{InterceptedStore, MemoryExecutor, StoreInterceptor};
use squidmesh_core::{
    COMPLETE, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger, Workflow, approval, ms,
    pause, secs,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_tests::Backend;

/// The present faults of the store.
#[derive(Default)]
pub(crate) struct Faults {
    /// The calls that never return.
    silent: Mutex<BTreeSet<&'static str>>,
    /// Whether every call fails.
    away: AtomicBool,
    /// The number of calls after which it is back.
    back_after: AtomicUsize,
    /// Whether the answer to a change is lost, and the store becomes unavailable with it.
    loses: AtomicBool,
    pub(crate) changes: AtomicUsize,
}

const CHANGES: [&str; 3] = ["commit", "compare_and_set_trigger", "prune"];

impl Faults {
    /// Makes these calls never return from now on.
    pub(crate) fn silence(&self, calls: &[&'static str]) {
        self.silent.lock().unwrap().extend(calls);
    }

    /// Loses the answer to the next change, and makes the store unavailable for this many calls then.
    pub(crate) fn lose_an_answer(&self, back_after: usize) {
        self.back_after.store(back_after, Ordering::SeqCst);
        self.loses.store(true, Ordering::SeqCst);
    }

    /// Makes the store unavailable until the faults are over.
    pub(crate) fn go_away(&self) {
        self.back_after.store(usize::MAX, Ordering::SeqCst);
        self.away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) {
        self.silent.lock().unwrap().clear();
        self.away.store(false, Ordering::SeqCst);
        self.loses.store(false, Ordering::SeqCst);
    }
}

/// Does to the calls of a store what the present faults require.
struct Faulty(Arc<Faults>);

#[async_trait]
impl StoreInterceptor for Faulty {
    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        if CHANGES.contains(&method) {
            self.0.changes.fetch_add(1, Ordering::SeqCst);
        }
        if self.0.silent.lock().unwrap().contains(method) {
            return pending().await;
        }
        if self.0.away.load(Ordering::SeqCst) {
            if self.0.back_after.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.0.away.store(false, Ordering::SeqCst);
            }
            return Err(StoreError::Unavailable { doing: method, source: "the test has it away".into() });
        }
        Ok(())
    }

    async fn after(&self, method: &'static str) -> Result<(), StoreError> {
        if CHANGES.contains(&method) && self.0.loses.swap(false, Ordering::SeqCst) {
            self.0.away.store(true, Ordering::SeqCst);
            let source = "the test has lost the answer".into();
            return Err(match method {
                // By its contract the record may have been written, regardless of the error.
                "compare_and_set_trigger" => StoreError::Unavailable { doing: method, source },
                _ => StoreError::OutcomeUnknown { source },
            });
        }
        Ok(())
    }
}

pub(crate) struct Harness {
    pub(crate) backend: Backend,
    pub(crate) mesh: Squidmesh,
    pub(crate) faults: Arc<Faults>,
}

impl Harness {
    pub(crate) fn on(backend: Backend) -> Self {
        let faults = Arc::new(Faults::default());
        let store = InterceptedStore::new(backend.store(), Faulty(faults.clone()));
        let mesh = mesh(&backend, store, workflows());
        Harness { backend, mesh, faults }
    }

    /// Returns a run that has advanced as far as it can without a person.
    pub(crate) async fn run(&self, workflow: &str) -> RunId {
        let id = self.mesh.start_run(workflow, &json!({})).await.unwrap().id;
        self.deliver_all().await;
        id
    }

    /// Delivers due work until there is none.
    pub(crate) async fn deliver_all(&self) {
        let runner = self.mesh.runner();
        loop {
            let claims = runner.claim(16).await.unwrap().claims;
            if claims.is_empty() {
                return;
            }
            for claim in claims {
                runner.deliver(claim).await;
            }
        }
    }

    pub(crate) async fn status(&self, id: RunId) -> RunStatus {
        self.mesh.inspect_run(id).await.unwrap().run.status
    }

    /// Lets time pass while a future runs, which must not take long.
    pub(crate) async fn within<T>(&self, time: Duration, work: impl Future<Output = T>) -> T {
        within(&self.backend, time, work).await
    }
}

/// Lets time pass while a future runs, which must not take long.
pub(crate) async fn within<T>(backend: &Backend, time: Duration, work: impl Future<Output = T>) -> T {
    let (began, clock) = (Instant::now(), backend.clock());
    let shown = clock.map(|clock| squidmesh_core::port::Clock::now(&**clock));
    let ticks = async {
        let Some(clock) = clock else { return pending::<()>().await };
        loop {
            tokio::task::yield_now().await;
            clock.advance(ms(20));
        }
    };
    let answer = tokio::select! {
        answer = work => answer,
        () = ticks => unreachable!("time passes for ever"),
    };
    match (clock, shown) {
        (Some(clock), Some(shown)) => {
            let passed = squidmesh_core::port::Clock::now(&**clock).since(shown);
            assert!(passed <= time + ms(500), "it took {passed:?}");
        }
        // The machine may be busy; a call that never ends is found all the same.
        _ => assert!(began.elapsed() <= time + Duration::from_secs(20), "it took {:?}", began.elapsed()),
    }
    answer
}

/// Creates a runtime that delivers only what a test claims.
pub(crate) fn mesh(backend: &Backend, store: impl Store, workflows: Vec<Workflow>) -> Squidmesh {
    let executor: Arc<dyn Executor> = match backend.clock() {
        Some(clock) => Arc::new(MemoryExecutor::new(clock.clone())),
        None => Arc::new(TokioExecutor::new()),
    };
    let builder = Squidmesh::builder(store).executor(executor).configure(|config| config.call_timeout = secs(3));
    workflows.into_iter().fold(builder, |builder, workflow| builder.workflow(workflow)).build().unwrap()
}

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

async fn fails(_: Value, _: StepContext) -> StepResult<()> {
    Err(StepError::terminal("as it must"))
}

fn workflows() -> Vec<Workflow> {
    let asks = Workflow::builder("asks").trigger(Trigger::manual("go")).step(Step::new("ask", approval()));
    let asks = asks.step(Step::new("yes", nothing)).step(Step::new("no", nothing));
    let asks = asks.then("ask", "yes").on_error("ask", "no").then("yes", COMPLETE).then("no", COMPLETE);
    let waits = Workflow::builder("waits").trigger(Trigger::manual("go")).step(Step::new("wait", pause()));
    let waits = waits.step(Step::new("on", nothing)).then("wait", "on").then("on", COMPLETE);
    let breaks = Workflow::builder("breaks").trigger(Trigger::manual("go")).step(Step::new("break", fails));
    let breaks = breaks.then("break", COMPLETE);
    let ticks = Workflow::builder("ticks").trigger(Trigger::cron("tick").expression("0 3 * * *").time_zone("UTC"));
    let ticks = ticks.step(Step::new("tock", nothing)).then("tock", COMPLETE);
    [asks, waits, breaks, ticks].into_iter().map(|workflow| workflow.build().unwrap()).collect()
}
