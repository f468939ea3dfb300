//! Processes that are killed in the middle of something: the workflows that they carry, and a handle on one of them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};
use squidmesh_core::{
    COMPLETE, CommandError, Retry, RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult,
    TransactionalHandler, Trigger, Workflow, WorkflowBuilder, approval, ms, transactional,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The workflow's name, whatever the phase.
pub const WORKFLOW: &str = "crashing";
/// The lease of everything, which is how long what a killed process held has to wait.
const LEASE: Duration = ms(300);
/// How long each part of the phase lasts in which a process is killed.
const MOMENT: Duration = ms(3);

/// What a process is in the middle of when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Compensation,
    Approval,
    Transaction,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::Compensation, Phase::Approval, Phase::Transaction];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Compensation => "compensation",
            Phase::Approval => "approval",
            Phase::Transaction => "transaction",
        }
    }
}

/// Tells that the phase has begun, and keeps a line of it that outlives the process.
#[derive(Clone, Debug)]
pub struct Telling {
    journal: PathBuf,
    aloud: bool,
}

impl Telling {
    pub fn new(journal: impl AsRef<Path>, aloud: bool) -> Self {
        Telling { journal: journal.as_ref().to_owned(), aloud }
    }

    #[allow(clippy::print_stdout, reason = "how a process tells the test where it is")]
    fn tell(&self, run: RunId, what: &str) {
        self.keep(run, what);
        if self.aloud {
            println!("in {run}");
        }
    }

    fn keep(&self, run: RunId, what: &str) {
        let mut journal = OpenOptions::new().create(true).append(true).open(&self.journal).expect("the journal opens");
        // One write, so that no line is torn however the process ends.
        journal.write_all(format!("{run} {what}\n").as_bytes()).expect("the journal can be written");
    }
}

fn begun() -> WorkflowBuilder {
    Workflow::builder(WORKFLOW).trigger(Trigger::manual("manual"))
}

/// A step that answers at once.
fn quick(name: &str) -> Step {
    Step::new(name, async |_: Value, _: StepContext| StepResult::Ok(json!({}))).retry(patient())
}

/// As if nobody had ever died: dying is what is tested, and not how often it may happen.
fn patient() -> Retry {
    Retry::fixed(1_000, ms(1))
}

/// Three steps that complete and one that fails: the three are compensated.
fn compensated(telling: &Telling) -> Workflow {
    let undone = |name: &str| {
        let telling = telling.clone();
        quick(name).compensate(move |_: Value, context: StepContext| {
            let telling = telling.clone();
            async move {
                telling.tell(context.run_id, context.step.as_str());
                tokio::time::sleep(MOMENT).await;
                StepResult::Ok(json!({ "undone": context.step.as_str() }))
            }
        })
    };
    let fails = async |_: Value, _: StepContext| Err::<(), _>(StepError::terminal("no more"));
    let fails = Step::new("four", fails).retry(patient());
    let steps = begun().step(undone("one")).step(undone("two")).step(undone("three")).step(fails);
    let steps = steps.then("one", "two").then("two", "three").then("three", "four").then("four", COMPLETE);
    steps.build().expect("a valid workflow")
}

/// An approval, with a step on each side of it.
fn approved() -> Workflow {
    let steps = begun().step(quick("ask")).step(Step::new("review", approval()).output("review"));
    let steps = steps.step(quick("yes")).step(quick("no"));
    let steps = steps.then("ask", "review").then("review", "yes").on_error("review", "no");
    steps.then("yes", COMPLETE).then("no", COMPLETE).build().expect("a valid workflow")
}

/// The host's table: each step writes two rows, and takes its time between them.
pub const LEDGER: &str =
    "CREATE TABLE IF NOT EXISTS host_ledger (run_id TEXT NOT NULL, step TEXT NOT NULL, side TEXT NOT NULL)";

struct Booking(Telling);

#[async_trait]
impl TransactionalHandler for Booking {
    type Input = Value;
    type Transaction = DatabaseTransaction;
    type Output = Value;

    async fn run(&self, _: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
        for side in ["debit", "credit"] {
            let (run, step) = (context.run_id, &context.step);
            let insert = format!("INSERT INTO host_ledger (run_id, step, side) VALUES ('{run}', '{step}', '{side}')");
            transaction.execute_unprepared(&insert).await?;
            if side == "debit" {
                self.0.tell(run, step.as_str());
                tokio::time::sleep(MOMENT).await;
            }
        }
        Ok(json!({}))
    }
}

/// Three steps, each in a transaction.
fn booked(telling: &Telling) -> Workflow {
    let book = |name: &str| Step::new(name, transactional(Booking(telling.clone()))).retry(patient());
    let steps = begun().step(book("one")).step(book("two")).step(book("three"));
    steps.then("one", "two").then("two", "three").then("three", COMPLETE).build().expect("a valid workflow")
}

/// A runtime that carries the workflow of a phase.
pub fn mesh(store: SeaOrmStore, phase: Phase, telling: &Telling) -> Squidmesh {
    let workflow = match phase {
        Phase::Compensation => compensated(telling),
        Phase::Approval => approved(),
        Phase::Transaction => booked(telling),
    };
    let builder = Squidmesh::builder(store)
        .executor(TokioExecutor::new().concurrency(4).poll_interval(ms(50)))
        .workflow(workflow)
        .configure(|config| (config.lease, config.heartbeat, config.crash_limit) = (LEASE, LEASE / 4, 1_000));
    builder.build().expect("the settings are sound")
}

/// Whether a run is to be approved: the same for whoever decides.
pub fn is_approved(run: RunId) -> bool {
    run.as_uuid().as_u128().is_multiple_of(2)
}

/// Decides whatever waits for a decision, for as long as it is polled; first of all about `again`, which a process may have
/// decided already that did not live to hear the answer.
pub async fn decide(mesh: &Squidmesh, telling: &Telling, actor: &str, again: Option<RunId>) {
    if let Some(run) = again
        && decide_one(mesh, actor, run).await
    {
        telling.keep(run, "again");
    }
    loop {
        let waiting = mesh.list_runs(&RunFilter::new().status(RunStatus::Paused)).await;
        for run in waiting.map(|page| page.runs).unwrap_or_default() {
            telling.tell(run.id, "review");
            decide_one(mesh, actor, run.id).await;
        }
        tokio::time::sleep(ms(5)).await;
    }
}

/// Whether the decision counts, and none that was taken before.
async fn decide_one(mesh: &Squidmesh, actor: &str, run: RunId) -> bool {
    let decided = if is_approved(run) {
        mesh.approve_run(run).actor(actor).await
    } else {
        mesh.reject_run(run).actor(actor).await
    };
    match decided {
        Ok(_) => true,
        // Decided before; or the store is busy, and the run is found again.
        Err(CommandError::InvalidTransition(_) | CommandError::Store(_) | CommandError::Conflict(_)) => false,
        Err(error) => panic!("a decision must be taken or have been taken: {error:?}"),
    }
}

/// A process that can be killed.
pub struct CrashingProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl CrashingProcess {
    /// Starts a process of `program`. `again` is what it decides about first.
    pub fn start(program: &str, url: &str, phase: Phase, journal: &Path, name: &str, again: Option<RunId>) -> Self {
        let again = again.map(|run| run.to_string()).unwrap_or_default();
        let mut child = Command::new(program)
            .args([url, phase.as_str(), &journal.display().to_string(), name, &again])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        CrashingProcess { child, lines }
    }

    /// Waits until it is in the middle of its phase, and says for which run.
    pub async fn in_the_middle(&mut self) -> RunId {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        let line = line.expect("a process gets to its phase in time").expect("its output can be read");
        let line = line.expect("a process goes on until it is killed");
        line.strip_prefix("in ").expect("it says where it is").parse().expect("a run's id")
    }

    /// Ends it as a power failure would, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process can be killed");
    }
}
