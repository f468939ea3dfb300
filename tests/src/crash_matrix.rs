//! The matrix of crash points. A cell is a shape of workflow, a point in the code, the count at which it is reached,
//! and the deed that happens there.
//!
//! Each cell has a workflow with its own name, so that no process executes what another cell left. The work that a
//! cell leaves when its process dies is completed afterwards, and judged together with all the rest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squidmesh_checker::EffectKind;
use squidmesh_core::command::StartError;
use squidmesh_core::crash_point::{self, Deed, Plan};
use squidmesh_core::definition::MissedPolicy;
use squidmesh_core::port::StoreError;
use squidmesh_core::workflow::{TransactionalHandler, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, Retry, Run, RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger,
    Workflow, approval, ms, pause, secs, transactional, wait,
};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;

use crate::ledger::Ledger;

/// The shapes of workflows.
pub const SHAPES: [&str; 15] = [
    "chain",
    "fan",
    "retried",
    "waiting",
    "approved",
    "rejected",
    "expired",
    "held",
    "undone",
    "siblings",
    "booked",
    "slow",
    "cancelled",
    "scheduled",
    "hosted",
];
/// The step of [`booked`](SHAPES) workflows that writes a row.
pub const BOOKING: &str = "book";
/// The host's table.
pub const ROWS: &str =
    "CREATE TABLE IF NOT EXISTS cell_rows (run_id TEXT NOT NULL, step TEXT NOT NULL, attempt BIGINT NOT NULL)";
/// The duration of a claim, and so the time that the work of a dead process waits.
pub const LEASE: Duration = ms(300);
/// The maximum duration of a cell.
const CELL_TIMEOUT: Duration = secs(60);
const KEY: &str = "the one start of a cell";

/// One cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    pub number: usize,
    pub shape: String,
    /// The point and the count at which the deed happens; none to see which points are reached.
    pub at: Option<(String, u64)>,
    deed: usize,
}

impl Cell {
    /// Creates a cell in which nothing happens.
    pub fn calm(number: usize, shape: &str) -> Self {
        Cell { number, shape: shape.to_owned(), at: None, deed: 0 }
    }

    /// Creates a cell in which `deed` happens.
    pub fn of(number: usize, shape: &str, point: &str, hit: u64, deed: Deed) -> Self {
        let deed = Deed::ALL.iter().position(|known| *known == deed).expect("a known deed");
        Cell { number, shape: shape.to_owned(), at: Some((point.to_owned(), hit)), deed }
    }

    /// Returns the deed that happens.
    pub fn deed(&self) -> Deed {
        Deed::ALL[self.deed]
    }

    /// Returns the name of the cell's workflow.
    pub fn name(&self) -> String {
        format!("{}-{}", self.shape, self.number)
    }
}

/// The cells that a process tries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub process: u32,
    pub store: String,
    pub redis: Option<String>,
    pub ledger: PathBuf,
    pub cells: Vec<Cell>,
}

/// A process's report on a cell that it completed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub number: usize,
    /// Whether the planned deed was done.
    pub done: bool,
    /// How often each point was reached.
    pub hits: BTreeMap<String, u64>,
}

/// Tries one cell after the other, and prints each, until one of them ends the process.
#[allow(clippy::print_stdout, reason = "how a process reports its progress to the test")]
pub async fn work(job: Job) {
    let store = SeaOrmStore::builder(&job.store).migrate(false).connect().await.expect("the store opens");
    let ledger = Arc::new(Ledger::open(&job.ledger, job.process).expect("the ledger opens"));
    for cell in &job.cells {
        let mesh = mesh(&store, job.redis.as_deref(), [workflow(cell, &ledger)]);
        let plan = cell.at.as_ref().map(|(point, hit)| Plan { point: point.clone(), hit: *hit, deed: cell.deed() });
        println!("begun {}", cell.number);
        crash_point::arm(plan);
        carry_out(&mesh, &store, std::slice::from_ref(cell)).await;
        let (hits, done) = crash_point::disarm();
        let hits = hits.into_iter().map(|(point, count)| (point.to_owned(), count)).collect();
        let ended = Ended { number: cell.number, done, hits };
        println!("ended {}", serde_json::to_string(&ended).expect("it can be said"));
    }
}

/// Creates a runtime with these workflows.
pub fn mesh(store: &SeaOrmStore, redis: Option<&str>, workflows: impl IntoIterator<Item = Workflow>) -> Squidmesh {
    let builder = Squidmesh::builder(store.clone());
    let builder = match redis {
        Some(redis) => {
            let executor = RedisExecutor::new(redis).expect("the URL is one");
            builder.executor(executor.concurrency(4).sweep_interval(ms(100)))
        }
        None => builder.executor(TokioExecutor::new().concurrency(4).poll_interval(ms(30))),
    };
    let builder = workflows.into_iter().fold(builder, squidmesh_core::command::SquidmeshBuilder::workflow);
    let builder = builder.configure(|config| {
        (config.lease, config.heartbeat, config.stranded_after) = (LEASE, LEASE / 4, ms(100));
        config.crash_limit = 100;
    });
    builder.build().expect("the settings are sound")
}

/// Starts the run of each cell, unless it was started before, and works until all runs have ended.
pub async fn carry_out(mesh: &Squidmesh, store: &SeaOrmStore, cells: &[Cell]) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let workers = mesh.clone();
    let workers = tokio::spawn(async move { workers.run_workers(async { drop(stopped.await) }).await });
    // Operators decide by the stored run: they have no code.
    let people = Squidmesh::builder(store.clone()).executor(TokioExecutor::new());
    let people = people.workflow(chained("people", [("nothing", Step::new("nothing", wait(ms(1))))]));
    let people = people.build().expect("the settings are sound");
    let all = cells.iter().map(|cell| to_the_end(mesh, &people, store, cell));
    futures_util::future::join_all(all).await;
    drop(stop);
    workers.await.expect("no panic").expect("the executor can work");
}

async fn to_the_end(mesh: &Squidmesh, people: &Squidmesh, store: &SeaOrmStore, cell: &Cell) {
    let (begun, name) = (Instant::now(), cell.name());
    let run = loop {
        let started = match cell.shape.as_str() {
            "hosted" => start_within(mesh, store, &name).await,
            _ => mesh.start_run(&name, &json!({})).trigger("go").idempotency_key(KEY).await.map(|run| run.id),
        };
        match started {
            Ok(run) => break run,
            Err(StartError::Store(_)) => tokio::time::sleep(ms(5)).await,
            Err(error) => panic!("{name} cannot be started: {error}"),
        }
        assert!(begun.elapsed() < CELL_TIMEOUT, "{name} is not started");
    };
    if let Ok(again) = mesh.start_run(&name, &json!({})).trigger("go").idempotency_key(KEY).await {
        assert_eq!(again.id, run, "a key starts one run");
    }
    // A process that ends releases what it has claimed.
    if let Ok(found) = mesh.runner().claim(1).await {
        let _ = mesh.runner().release(found.claims).await;
    }
    let _ = people.find_run(&name, KEY).await;
    let _ = people.prune_runs(secs(3_600)).dry_run().await;
    loop {
        let _ = people.list_runs(&RunFilter::new().limit(1)).await;
        if let Ok(details) = mesh.inspect_run(run).await {
            if details.run.status.is_terminal() && details.intents.is_empty() {
                return;
            }
            decide(people, store, &cell.shape, &details.run).await;
            assert!(begun.elapsed() < CELL_TIMEOUT, "{cell:?} does not end: {:?}, {:?}", details.run, details.intents);
        }
        tokio::time::sleep(ms(8)).await;
    }
}

/// Starts a run in the host's own transaction.
async fn start_within(mesh: &Squidmesh, store: &SeaOrmStore, name: &str) -> Result<RunId, StartError> {
    let transaction = store.begin().await?;
    let session = store.join(&transaction);
    let joined = mesh.within(&session);
    let run = joined.start_run(name, &json!({})).trigger("go").idempotency_key(KEY).await?;
    let after = joined.into_after_commit();
    drop(session);
    transaction.commit().await.map_err(lost)?;
    after.committed();
    Ok(run.id)
}

/// Decides in the host's own transaction. Errors are ignored: the next look at the run decides again.
async fn approve_within(people: &Squidmesh, store: &SeaOrmStore, run: RunId) -> Result<(), StoreError> {
    let transaction = store.begin().await?;
    let session = store.join(&transaction);
    let joined = people.within(&session);
    let approved = joined.approve_run(run).actor("ann").await.is_ok();
    let after = joined.into_after_commit();
    drop(session);
    if approved {
        transaction.commit().await.map_err(lost)?;
        after.committed();
    }
    Ok(())
}

fn lost(error: DbErr) -> StoreError {
    StoreError::OutcomeUnknown { source: Box::new(error) }
}

/// Decides about a run. Errors are ignored: the next look at the run decides again.
async fn decide(people: &Squidmesh, store: &SeaOrmStore, shape: &str, run: &Run) {
    match (shape, run.status) {
        ("approved", RunStatus::Paused) => drop(people.approve_run(run.id).actor("ann").await),
        ("rejected", RunStatus::Paused) => drop(people.reject_run(run.id).actor("ann").await),
        ("held", RunStatus::Paused) => drop(people.unblock_run(run.id).actor("ann").await),
        ("hosted", RunStatus::Paused) => drop(approve_within(people, store, run.id).await),
        ("cancelled", RunStatus::Running) => drop(people.cancel_run(run.id).actor("ann").await),
        _ => {}
    }
}

fn begun(name: &str) -> WorkflowBuilder {
    Workflow::builder(name).trigger(Trigger::manual("go"))
}

fn chained<const N: usize>(name: &str, steps: [(&str, Step); N]) -> Workflow {
    let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
    let builder = steps.into_iter().fold(begun(name), |builder, (_, step)| builder.step(step));
    let builder = names.windows(2).fold(builder, |builder, pair| builder.then(pair[0], pair[1]));
    builder.then(names[N - 1], COMPLETE).build().expect("a valid workflow")
}

/// Returns a step that takes `time`, and fails in its first `failures` attempts.
fn step(ledger: &Arc<Ledger>, name: &str, time: Duration, failures: u32) -> Step {
    let ledger = ledger.clone();
    Step::new(name, move |input: Value, context: StepContext| {
        let noted = ledger.note(EffectKind::Step, &context, input, None);
        async move {
            tokio::time::sleep(time).await;
            if context.attempt <= failures {
                Err(StepError::retryable("not yet"))
            } else {
                Ok(json!({ "effect": noted? }))
            }
        }
    })
    .retry(Retry::fixed(50, ms(20)))
}

fn compensated(ledger: &Arc<Ledger>, name: &str, time: Duration) -> Step {
    let back = ledger.clone();
    step(ledger, name, time, 0).compensate(move |input: Value, context: StepContext| {
        let noted = back.note(EffectKind::Compensation, &context, input, None);
        async move { StepResult::Ok(json!({ "effect": noted? })) }
    })
}

fn fails(name: &str) -> Step {
    Step::new(name, async |_: Value, _: StepContext| Err::<Value, _>(StepError::terminal("never")))
}

/// Returns the workflow of a cell.
pub fn workflow(cell: &Cell, ledger: &Arc<Ledger>) -> Workflow {
    let (name, at_once) = (cell.name(), Duration::ZERO);
    let quick = |name: &str| step(ledger, name, at_once, 0);
    let judged = |decide: Step| {
        begun(&name)
            .step(quick("ask"))
            .step(decide.output("decision"))
            .step(quick("yes"))
            .step(quick("no"))
            .then("ask", "decide")
            .then("decide", "yes")
            .on_error("decide", "no")
            .then("yes", COMPLETE)
            .then("no", COMPLETE)
            .build()
            .expect("a valid workflow")
    };
    match cell.shape.as_str() {
        "chain" => chained(&name, ["one", "two", "three"].map(|step| (step, quick(step)))),
        "fan" => begun(&name)
            .step(quick("split"))
            .step(quick("left").after(["split"]).output("left"))
            .step(quick("right").after(["split"]).output("right"))
            .step(quick("join").after(["left", "right"]))
            .build()
            .expect("a valid workflow"),
        "retried" => chained(&name, [("again", step(ledger, "again", at_once, 2)), ("then", quick("then"))]),
        "waiting" => chained(
            &name,
            [("before", quick("before")), ("wait", Step::new("wait", wait(ms(60)))), ("after", quick("after"))],
        ),
        "approved" | "rejected" | "hosted" => judged(Step::new("decide", approval())),
        "expired" => judged(Step::new("decide", approval().deadline(ms(60)).then_to("no"))),
        "held" => chained(
            &name,
            [("before", quick("before")), ("hold", Step::new("hold", pause())), ("after", quick("after"))],
        ),
        "undone" => chained(
            &name,
            [
                ("first", compensated(ledger, "first", at_once)),
                ("second", compensated(ledger, "second", at_once)),
                ("fails", fails("fails")),
            ],
        ),
        "siblings" => begun(&name)
            .step(quick("base"))
            .step(compensated(ledger, "late", ms(40)).after(["base"]).output("late"))
            .step(fails("fails").after(["base"]))
            .build()
            .expect("a valid workflow"),
        "booked" => {
            let book = Step::new(BOOKING, transactional(Booking(ledger.clone()))).retry(Retry::fixed(50, ms(20)));
            chained(&name, [("before", quick("before")), (BOOKING, book), ("after", quick("after"))])
        }
        "slow" => chained(&name, [("slow", step(ledger, "slow", LEASE, 0)), ("then", quick("then"))]),
        "cancelled" => chained(&name, [("long", step(ledger, "long", ms(60), 0)), ("never", quick("never"))]),
        "scheduled" => Workflow::builder(&name)
            .trigger(Trigger::manual("go"))
            .trigger(Trigger::cron("yearly").expression("0 0 1 1 *").time_zone("UTC").missed(MissedPolicy::Skip))
            .step(quick("once"))
            .then("once", COMPLETE)
            .build()
            .expect("a valid workflow"),
        other => panic!("there is no shape {other}"),
    }
}

struct Booking(Arc<Ledger>);

impl TransactionalHandler for Booking {
    type Input = Value;
    type Transaction = DatabaseTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
        let (run, step, attempt): (RunId, _, _) = (context.run_id, &context.step, context.attempt);
        let insert = format!("INSERT INTO cell_rows (run_id, step, attempt) VALUES ('{run}', '{step}', {attempt})");
        transaction.execute_unprepared(&insert).await?;
        let noted = self.0.note(EffectKind::Step, &context, input, None)?;
        Ok(json!({ "effect": noted }))
    }
}
