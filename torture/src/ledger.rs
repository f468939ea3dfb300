//! What handlers did and what was told, in files that outlive every process.
//!
//! Each line of the ledger is as long as any other and goes out in one write to the end of the file, so that its place is its
//! number and no line is torn, however the process ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use squidmesh_core::{Event, EventKind, Failure, RunState, StepContext, StepName, Timestamp};
use squidmesh_simulation::check::{Effect, EffectKind};

/// How long a line is. A page holds a whole number of them.
const LINE: usize = 1_024;

/// The ledger of an episode, which all its processes write.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Mutex<File>,
    process: u32,
}

/// One thing that a handler did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// By which process.
    pub(crate) process: u32,
    /// When, in milliseconds since 1970.
    pub(crate) at: i64,
    run: String,
    pub(crate) step: String,
    compensation: bool,
    pub(crate) attempt: u32,
    input: Value,
    retry_after: Option<u64>,
}

impl Ledger {
    pub(crate) fn open(path: &Path, process: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Ledger { file: Mutex::new(file), process })
    }

    /// Writes a line and gives its number.
    pub(crate) fn note(
        &self,
        kind: EffectKind,
        context: &StepContext,
        input: Value,
        retry_after: Option<Duration>,
    ) -> io::Result<u64> {
        let line = Line {
            process: self.process,
            at: now(),
            run: context.run_id.to_string(),
            step: context.step.to_string(),
            compensation: kind == EffectKind::Compensation,
            attempt: context.attempt,
            input,
            retry_after: retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut text = serde_json::to_vec(&line)?;
        assert!(text.len() < LINE, "a line of the ledger is too long: {line:?}");
        text.resize(LINE - 1, b' ');
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&text)?;
        Ok(file.stream_position()? / LINE as u64 - 1)
    }

    /// Every line, in order.
    pub(crate) fn read(path: &Path) -> io::Result<Vec<Line>> {
        let text = std::fs::read(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        text.chunks(LINE).map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }
}

impl Line {
    pub(crate) fn effect(&self) -> Effect {
        Effect {
            run_id: self.run.parse().expect("the ledger holds ids of runs"),
            step: StepName::new(&self.step).expect("the ledger holds names of steps"),
            kind: if self.compensation { EffectKind::Compensation } else { EffectKind::Step },
            attempt: self.attempt,
            input: self.input.clone(),
            retry_after: self.retry_after.map(Duration::from_millis),
        }
    }
}

/// The time by the clock of this machine, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What is kept of an event: enough to judge whether it was told of something that is so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) run: String,
    status: String,
    kind: Kind,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Transition { from: String, to: String },
    Started { step: String, attempt: u32 },
    Completed { step: String, attempt: u32 },
    Failed { step: String, attempt: u32 },
    Compensating { step: String },
    Compensated { step: String },
}

impl Told {
    pub(crate) fn of(event: &Event) -> Option<Told> {
        let kind = match &event.kind {
            EventKind::RunTransition { from, to } => Kind::Transition { from: from.to_string(), to: to.to_string() },
            EventKind::StepStarted { step, attempt } => Kind::Started { step: step.to_string(), attempt: *attempt },
            EventKind::StepCompleted { step, attempt, .. } => {
                Kind::Completed { step: step.to_string(), attempt: *attempt }
            }
            EventKind::StepFailed { step, attempt, .. } => Kind::Failed { step: step.to_string(), attempt: *attempt },
            EventKind::CompensationStarted { step } => Kind::Compensating { step: step.to_string() },
            EventKind::CompensationCompleted { step } => Kind::Compensated { step: step.to_string() },
            _ => return None,
        };
        Some(Told { run: event.run_id.to_string(), status: event.status.to_string(), kind })
    }

    /// The event, about a run as it is stored now.
    pub(crate) fn event(&self, state: &RunState) -> Event {
        let status = |text: &str| text.parse().expect("a status");
        let step = |text: &str| StepName::new(text).expect("a name");
        let duration = Duration::ZERO;
        let kind = match &self.kind {
            Kind::Transition { from, to } => EventKind::RunTransition { from: status(from), to: status(to) },
            Kind::Started { step: name, attempt } => EventKind::StepStarted { step: step(name), attempt: *attempt },
            Kind::Completed { step: name, attempt } => {
                EventKind::StepCompleted { step: step(name), attempt: *attempt, duration }
            }
            Kind::Failed { step: name, attempt } => EventKind::StepFailed {
                step: step(name),
                attempt: *attempt,
                duration,
                error: Failure::new("torture", "as told"),
            },
            Kind::Compensating { step: name } => EventKind::CompensationStarted { step: step(name) },
            Kind::Compensated { step: name } => EventKind::CompensationCompleted { step: step(name) },
        };
        let mut run = state.run.clone();
        run.status = status(&self.status);
        Event::new(&run, Timestamp::from_millis(0), kind)
    }
}
