//! Commits that a server applies after their answer was lost, and after the run was read again: the worker finds in the
//! run what it recorded, and continues with the step that it began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};
use squidmesh_core::port::{Commit, CommitOutcome, Store, StoreError, TransactionBody, TransactionOutcome};
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::testing::{InterceptedStore, MemoryTransaction, StoreInterceptor};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    COMPLETE, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger, Workflow, secs,
    transactional,
};
use squidmesh_tests::{Backend, block_on};

use super::faults::{mesh, within};

/// Loses the answer to one change of a run, which the run shows only to later loads.
#[derive(Default)]
struct Late {
    /// The number of changes until then.
    until: AtomicUsize,
    /// The number of loads that show the run as it was before.
    loads: AtomicUsize,
    before: Mutex<Option<RunSnapshot>>,
}

impl Late {
    /// Counts a change, and returns whether its answer is lost. The change after that finds the run as it is.
    async fn loses(&self, store: &dyn Store, run: RunId) -> bool {
        *self.before.lock().unwrap() = None;
        if self.until.load(Ordering::SeqCst) == 0 || self.until.fetch_sub(1, Ordering::SeqCst) > 1 {
            return false;
        }
        *self.before.lock().unwrap() = store.load(run).await.unwrap();
        true
    }
}

struct Applies {
    late: Arc<Late>,
    run: Arc<Mutex<Option<RunId>>>,
}

fn lost() -> StoreError {
    StoreError::OutcomeUnknown { source: "the test has lost the answer".into() }
}

#[async_trait]
impl StoreInterceptor for Applies {
    async fn load(&self, store: &dyn Store, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        let before = self.late.before.lock().unwrap().clone();
        if before.is_some() && self.late.loads.load(Ordering::SeqCst) > 0 {
            self.late.loads.fetch_sub(1, Ordering::SeqCst);
            return Ok(before);
        }
        store.load(id).await
    }

    async fn commit(
        &self,
        store: &dyn Store,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let run = *self.run.lock().unwrap();
        let Some(run) = run.filter(|run| commits.iter().any(|commit| commit.run.id == *run)) else {
            return store.commit(commits).await;
        };
        if !self.late.loses(store, run).await {
            return store.commit(commits).await;
        }
        store.commit(commits).await?;
        Err(lost())
    }

    async fn transact(
        &self,
        store: &dyn Store,
        body: Box<dyn TransactionBody>,
    ) -> Result<TransactionOutcome, StoreError> {
        let run = *self.run.lock().unwrap();
        let Some(run) = run else { return store.transact(body).await };
        if !self.late.loses(store, run).await {
            return store.transact(body).await;
        }
        store.transact(body).await?;
        Err(lost())
    }
}

/// Delivers due work until there is none; what is claimed together is delivered together.
async fn deliver_together(mesh: &Squidmesh) {
    let runner = mesh.runner();
    loop {
        let claims = runner.claim(16).await.unwrap().claims;
        if claims.is_empty() {
            return;
        }
        join_all(claims.into_iter().map(|claim| runner.deliver(claim))).await;
    }
}

/// How often the handlers of each step, and those of each compensation, were called.
type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

fn count(calls: &Calls, name: String) {
    *calls.lock().unwrap().entry(name).or_default() += 1;
}

fn step(calls: &Calls, name: &str) -> Step {
    let (done, undone) = (calls.clone(), calls.clone());
    let step = Step::new(name, move |_: Value, context: StepContext| {
        count(&done, context.step.to_string());
        async { StepResult::Ok(json!({})) }
    });
    step.compensate(move |_: Value, context: StepContext| {
        count(&undone, format!("undo {}", context.step));
        async { StepResult::Ok(json!({})) }
    })
}

struct Fails;

impl TransactionalHandler for Fails {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, _: Value, _: &MemoryTransaction, _: StepContext) -> StepResult<Value> {
        Err(StepError::terminal("as it must"))
    }
}

/// A step whose writes are committed with its outcome, and which cannot write them twice.
struct Books(Calls, AtomicUsize);

impl TransactionalHandler for Books {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, _: Value, transaction: &MemoryTransaction, context: StepContext) -> StepResult<Value> {
        if self.1.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(StepError::terminal("the row exists"));
        }
        let calls = self.0.clone();
        transaction.on_commit(move || count(&calls, context.step.to_string()));
        Ok(json!({}))
    }
}

/// Three steps, the second transactional; the last one fails if `fails`, and the others are compensated.
fn workflow(calls: &Calls, fails: bool) -> Workflow {
    let last = if fails { Step::new("last", transactional(Fails)) } else { step(calls, "last") };
    let workflow = Workflow::builder("late").trigger(Trigger::manual("go")).step(step(calls, "first"));
    let workflow = workflow.step(Step::new("books", transactional(Books(calls.clone(), AtomicUsize::new(0)))));
    let workflow = workflow.step(step(calls, "third")).step(last);
    workflow.then("first", "books").then("books", "third").then("third", "last").then("last", COMPLETE).build().unwrap()
}

/// Three siblings, each with a step of its own after it, and one after all.
fn siblings(calls: &Calls) -> Workflow {
    let workflow = Workflow::builder("late").trigger(Trigger::manual("go")).step(step(calls, "root"));
    let workflow = ["a", "b", "c"].into_iter().fold(workflow, |workflow, name| {
        let next = format!("{name}2");
        workflow.step(step(calls, name).after(["root"])).step(step(calls, &next).after([name]))
    });
    workflow.step(step(calls, "last").after(["a2", "b2", "c2"])).build().unwrap()
}

/// The runs of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Completes,
    Fails,
    Siblings,
}

/// Executes a run whose `change`th change is applied late, and returns whether it had that many.
async fn execute(change: usize, loads: usize, shape: Shape) -> bool {
    let fails = shape == Shape::Fails;
    let (calls, late, run) = (Calls::default(), Arc::new(Late::default()), Arc::new(Mutex::new(None)));
    let backend = Backend::memory().await;
    let store = InterceptedStore::new(backend.store(), Applies { late: late.clone(), run: run.clone() });
    let mesh: Squidmesh = mesh(
        &backend,
        store,
        vec![match shape {
            Shape::Siblings => siblings(&calls),
            _ => workflow(&calls, fails),
        }],
    );
    let id = mesh.start_run("late", &json!({})).await.unwrap().id;
    *run.lock().unwrap() = Some(id);
    late.until.store(change, Ordering::SeqCst);
    late.loads.store(loads, Ordering::SeqCst);
    // Far less than a lease: no step waits for the lease of another delivery to expire.
    within(&backend, secs(2), deliver_together(&mesh)).await;

    let context = format!("change {change}, {loads} loads, {shape:?}");
    let expected = if fails { RunStatus::Failed } else { RunStatus::Completed };
    let found = mesh.inspect_run(id).await.unwrap();
    assert_eq!(found.run.status, expected, "{context}");
    let names: &[&str] = match shape {
        Shape::Completes => &["books", "first", "last", "third"],
        Shape::Fails => &["books", "first", "third", "undo first", "undo third"],
        Shape::Siblings => &["a", "a2", "b", "b2", "c", "c2", "last", "root"],
    };
    let once: BTreeMap<String, usize> = names.iter().map(|name| ((*name).to_owned(), 1)).collect();
    assert_eq!(*calls.lock().unwrap(), once, "{context}");
    late.until.load(Ordering::SeqCst) == 0
}

#[test]
fn a_commit_that_is_applied_late_is_found_by_its_worker() {
    block_on(async {
        for (shape, changes) in [(Shape::Completes, 5), (Shape::Fails, 7), (Shape::Siblings, 4)] {
            for loads in 1..=3 {
                let mut change = 1;
                while execute(change, loads, shape).await {
                    change += 1;
                }
                assert!(change > changes, "only {change} changes of {shape:?} were lost");
            }
        }
    });
}
