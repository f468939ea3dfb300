//! Processes that are killed in the middle of their work: the workflows that they execute, and a handle on one of
//! them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};
use squidmesh_core::command::{CommandError, CommandRefused};
use squidmesh_core::workflow::{TransactionalHandler, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, Retry, RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger,
    Workflow, approval, ms, transactional,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;

use crate::child::ChildProcess;

/// The name of the workflow, in every phase.
pub const WORKFLOW: &str = "crashing";
/// The duration of all leases, and so the time that the work of a killed process waits.
const LEASE: Duration = ms(300);
/// The duration of each part of the phase in which a process is killed.
const MOMENT: Duration = ms(3);

/// The work that a process is in the middle of when it is killed.
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

/// Reports that the phase has begun, and writes a line about it that outlives the process.
#[derive(Clone, Debug)]
pub struct Progress {
    journal: PathBuf,
    aloud: bool,
}

impl Progress {
    pub fn new(journal: impl AsRef<Path>, aloud: bool) -> Self {
        Progress { journal: journal.as_ref().to_owned(), aloud }
    }

    #[allow(clippy::print_stdout, reason = "how a process reports its progress to the test")]
    fn report(&self, run: RunId, what: &str) {
        self.keep(run, what);
        if self.aloud {
            println!("in {run}");
        }
    }

    fn keep(&self, run: RunId, what: &str) {
        let mut journal = OpenOptions::new().create(true).append(true).open(&self.journal).expect("the journal opens");
        // A single write, so that no line is torn however the process ends.
        journal.write_all(format!("{run} {what}\n").as_bytes()).expect("the journal can be written");
    }
}

fn begun() -> WorkflowBuilder {
    Workflow::builder(WORKFLOW).trigger(Trigger::manual("manual"))
}

/// Returns a step that completes at once.
fn quick(name: &str) -> Step {
    Step::new(name, async |_: Value, _: StepContext| StepResult::Ok(json!({}))).retry(patient())
}

/// Allows any number of deaths: only the recovery is tested, not the limit on crashes.
fn patient() -> Retry {
    Retry::fixed(1_000, ms(1))
}

/// Returns three steps that complete and one that fails: the three are compensated.
fn compensated(progress: &Progress) -> Workflow {
    let undone = |name: &str| {
        let progress = progress.clone();
        quick(name).compensate(move |_: Value, context: StepContext| {
            let progress = progress.clone();
            async move {
                progress.report(context.run_id, context.step.as_str());
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

/// Returns an approval, with a step on each side of it.
fn approved() -> Workflow {
    let steps = begun().step(quick("ask")).step(Step::new("review", approval()).output("review"));
    let steps = steps.step(quick("yes")).step(quick("no"));
    let steps = steps.then("ask", "review").then("review", "yes").on_error("review", "no");
    steps.then("yes", COMPLETE).then("no", COMPLETE).build().expect("a valid workflow")
}

/// The host's table: each step writes two rows, with a pause between them.
pub const LEDGER: &str =
    "CREATE TABLE IF NOT EXISTS host_ledger (run_id TEXT NOT NULL, step TEXT NOT NULL, side TEXT NOT NULL)";

struct Booking(Progress);

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
                self.0.report(run, step.as_str());
                tokio::time::sleep(MOMENT).await;
            }
        }
        Ok(json!({}))
    }
}

/// Returns three steps, each in a transaction.
fn booked(progress: &Progress) -> Workflow {
    let book = |name: &str| Step::new(name, transactional(Booking(progress.clone()))).retry(patient());
    let steps = begun().step(book("one")).step(book("two")).step(book("three"));
    steps.then("one", "two").then("two", "three").then("three", COMPLETE).build().expect("a valid workflow")
}

/// Creates a runtime that executes the workflow of a phase.
pub fn mesh(store: SeaOrmStore, phase: Phase, progress: &Progress) -> Squidmesh {
    let workflow = match phase {
        Phase::Compensation => compensated(progress),
        Phase::Approval => approved(),
        Phase::Transaction => booked(progress),
    };
    let builder = Squidmesh::builder(store)
        .executor(TokioExecutor::new().concurrency(4).poll_interval(ms(50)))
        .workflow(workflow)
        .configure(|config| (config.lease, config.heartbeat, config.crash_limit) = (LEASE, LEASE / 4, 1_000));
    builder.build().expect("the settings are sound")
}

/// Returns whether a run is to be approved: the same in every process.
pub fn is_approved(run: RunId) -> bool {
    run.as_uuid().as_u128().is_multiple_of(2)
}

/// Decides about every waiting run, for as long as it is polled; first about `again`, which a process may have
/// decided already without receiving the answer.
pub async fn decide(mesh: &Squidmesh, progress: &Progress, actor: &str, again: Option<RunId>) {
    if let Some(run) = again
        && decide_one(mesh, actor, run).await
    {
        progress.keep(run, "again");
    }
    loop {
        let waiting = mesh.list_runs(&RunFilter::new().status(RunStatus::Paused)).await;
        for run in waiting.map(|page| page.runs).unwrap_or_default() {
            progress.report(run.id, "review");
            decide_one(mesh, actor, run.id).await;
        }
        tokio::time::sleep(ms(5)).await;
    }
}

/// Returns whether the decision was taken, and no earlier one.
async fn decide_one(mesh: &Squidmesh, actor: &str, run: RunId) -> bool {
    let decided = if is_approved(run) {
        mesh.approve_run(run).actor(actor).await
    } else {
        mesh.reject_run(run).actor(actor).await
    };
    match decided {
        Ok(_) => true,
        // Decided before; or the store is busy, and the run is found again.
        Err(
            CommandError::Refused(CommandRefused::InvalidTransition(_))
            | CommandError::Store(_)
            | CommandError::Conflict(_),
        ) => false,
        Err(error) => panic!("a decision must be taken or have been taken: {error:?}"),
    }
}

/// A process that can be killed.
pub struct CrashingProcess(ChildProcess);

impl CrashingProcess {
    /// Starts a process of `program`. `again` is the run that it decides about first.
    pub fn start(program: &str, url: &str, phase: Phase, journal: &Path, name: &str, again: Option<RunId>) -> Self {
        let again = again.map(|run| run.to_string()).unwrap_or_default();
        let journal = journal.display().to_string();
        CrashingProcess(ChildProcess::of(program, &[url, phase.as_str(), &journal, name, &again]))
    }

    /// Waits until the process is in the middle of its phase, and returns the run.
    pub async fn in_the_middle(&mut self) -> RunId {
        let line = self.0.line().await;
        line.strip_prefix("in ").expect("it reports where it is").parse().expect("a run's id")
    }

    /// Kills the process as a power failure would, and waits until it is gone.
    pub async fn kill(self) {
        self.0.kill().await;
    }
}
