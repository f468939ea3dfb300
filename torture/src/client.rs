//! People and programs outside: they start runs, decide, cancel and replay, and record the answers.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use squidmesh_checker::{Act, Answer, Call};
use squidmesh_core::command::{CommandError, ReplayError, ResumeError, StartError};
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::port::StoreError;
use squidmesh_core::run::RunSummary;
use squidmesh_core::{Run, RunFilter, RunId, RunStatus, Squidmesh, ms, secs};
use tokio::task::JoinSet;

use crate::rng::Rng;
use crate::workflows::{HELD, WEIGHTS, is_left_alone};

/// The maximum number of open runs: more would only lengthen the end.
const OPEN: u64 = 60;
/// The time that a client waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// All clients of an episode.
pub(crate) struct Clients {
    mesh: Squidmesh,
    rng: Rng,
    calls: Mutex<Vec<Call>>,
    started: Mutex<Vec<RunId>>,
    /// The number of open runs, as far as the clients know.
    pub(crate) open: AtomicU64,
    closing: AtomicBool,
}

impl Clients {
    pub(crate) fn new(mesh: Squidmesh, seed: u64) -> Arc<Self> {
        Arc::new(Clients {
            mesh,
            rng: Rng::of(seed, "clients"),
            calls: Mutex::default(),
            started: Mutex::default(),
            open: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        })
    }

    /// Returns the calls so far. A call without an answer is unknown.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes new requests until [`close`](Clients::close), and decides for as long as it lives.
    pub(crate) fn open(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let clients = self.clone();
            tasks.spawn(async move { clients.start_runs().await });
        }
        let clients = self.clone();
        tasks.spawn(async move { clients.disturb().await });
        let clients = self.clone();
        tasks.spawn(async move { clients.decide().await });
        tasks
    }

    /// Stops new requests.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    async fn start_runs(&self) {
        while !self.is_closing() {
            tokio::time::sleep(self.rng.around(ms(60))).await;
            if self.open.load(Ordering::Relaxed) >= OPEN {
                continue;
            }
            self.open.fetch_add(1, Ordering::Relaxed);
            let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
            let mut drawn = self.rng.below(all);
            let chosen = WEIGHTS.iter().find(|(_, weight)| {
                let found = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                found
            });
            let name = chosen.map_or("chain", |(name, _)| name);
            let key = self.rng.one_in(3).then(|| format!("key {}", self.rng.below(2_000)));
            // Under a key a client may retry until there is an answer, and repeat the request after one.
            let mut times = if key.is_some() { 1 + self.rng.below(3) } else { 1 };
            while times > 0 && !self.is_closing() {
                let act = Act::Start { workflow: WorkflowName::new(name).expect("a name"), key: key.clone() };
                if self.ask(act).await != Answer::Unknown || key.is_none() {
                    times -= 1;
                }
            }
        }
    }

    /// Cancels, replays and resumes random runs.
    async fn disturb(&self) {
        while !self.is_closing() {
            tokio::time::sleep(self.rng.around(ms(350))).await;
            let some = {
                let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
                let recent = self.rng.below(40).min(started.len() as u64);
                let place = started.len().checked_sub(1 + usize::try_from(recent).unwrap_or(0));
                place.and_then(|place| started.get(place).copied())
            };
            let Some(run) = some else { continue };
            let act = match self.rng.below(6) {
                0..=2 => Act::Cancel(run),
                3 => Act::Replay(run),
                _ => Act::Resume(run),
            };
            self.ask(act).await;
        }
    }

    /// Decides about every run that waits for a person, except those left alone.
    async fn decide(&self) {
        let mut asked = BTreeSet::new();
        loop {
            tokio::time::sleep(ms(150)).await;
            let paused = RunFilter::new().status(RunStatus::Paused).limit(500);
            let Ok(Ok(page)) = tokio::time::timeout(ANSWER_TIMEOUT, self.mesh.list_runs(&paused)).await else {
                continue;
            };
            for run in page.runs {
                if is_left_alone(run.id) || !asked.insert(run.id) {
                    continue;
                }
                let act = match run.workflow.as_str() {
                    HELD => Act::Unblock(run.id),
                    _ if run.id.as_uuid().as_u128().is_multiple_of(3) => Act::Reject(run.id),
                    _ => Act::Approve(run.id),
                };
                // A decision refused because the database was unavailable is made again, as a person would.
                if !matches!(self.ask(act).await, Answer::Ok(_)) {
                    asked.remove(&run.id);
                }
            }
        }
    }

    async fn ask(&self, act: Act) -> Answer {
        let place = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(Call { act: act.clone(), answer: Answer::Unknown });
            calls.len() - 1
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.carry_out(act)).await.unwrap_or(Answer::Unknown);
        if let Answer::Ok(run) = &answer {
            self.started.lock().unwrap_or_else(PoisonError::into_inner).push(*run);
        }
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)[place].answer = answer.clone();
        answer
    }

    async fn carry_out(&self, act: Act) -> Answer {
        let (mesh, actor) = (&self.mesh, format!("person {}", self.rng.below(9)));
        match act {
            Act::Start { workflow, key } => {
                let payload = json!({ "number": self.rng.below(1_000) });
                let start = mesh.start_run(workflow.as_str(), &payload);
                let start = match key {
                    Some(key) => start.idempotency_key(key),
                    None => start,
                };
                answer(start.await, is_start_open)
            }
            Act::Cancel(run) => answer(mesh.cancel_run(run).actor(actor).await, is_open),
            Act::Unblock(run) => answer(mesh.unblock_run(run).actor(actor).await, is_open),
            Act::Approve(run) => answer(mesh.approve_run(run).actor(actor).await, is_open),
            Act::Reject(run) => answer(mesh.reject_run(run).actor(actor).await, is_open),
            Act::Replay(run) => {
                answer(mesh.replay_run(run).actor(actor).allow_irreversible().await, |error| match error {
                    ReplayError::Store(error) => is_unknown(error),
                    ReplayError::Start(error) => is_start_open(error),
                    _ => false,
                })
            }
            Act::Resume(run) => {
                answer(mesh.resume_run(run).actor(actor).allow_irreversible().await, |error| match error {
                    ResumeError::Store(error) => is_unknown(error),
                    ResumeError::Start(error) => is_start_open(error),
                    _ => false,
                })
            }
            // No workflow here waits for one.
            Act::Signal(sent) => Answer::Refused(format!("{sent:?} is not sent")),
        }
    }

    /// Returns the runs that have not ended and are not left alone by those who decide.
    pub(crate) async fn restless(&self) -> Result<Vec<RunSummary>, StoreError> {
        let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
        let open = open.fold(RunFilter::new().limit(1_000), RunFilter::status);
        let mut runs = self.mesh.list_runs(&open).await?.runs;
        runs.retain(|run| run.status != RunStatus::Paused || !is_left_alone(run.id));
        Ok(runs)
    }
}

fn is_open(error: &CommandError) -> bool {
    matches!(error, CommandError::Store(error) if is_unknown(error))
}

fn is_start_open(error: &StartError) -> bool {
    matches!(error, StartError::Store(error) if is_unknown(error))
}

/// Returns whether the request may have been executed, or may yet be. Every other error means that it was not, which
/// is checked.
fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::OutcomeUnknown { .. })
}

fn answer<E: Display>(answer: Result<Run, E>, open: impl Fn(&E) -> bool) -> Answer {
    match answer {
        Ok(run) => Answer::Ok(run.id),
        Err(error) if open(&error) => Answer::Unknown,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// The time that everything may take to come to rest once the disturbances have ended.
pub(crate) const REST: Duration = secs(90);
