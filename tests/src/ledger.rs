//! The effects of handlers, in a file that outlives every process.
//!
//! All lines of the ledger have the same length, and each is appended to the file in one write, so that its position
//! is its number and no line is torn, however the process ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use squidmesh_checker::{Effect, EffectKind};
use squidmesh_core::StepContext;
use squidmesh_core::definition::StepName;

/// The length of a line. A page holds a whole number of them.
const LINE: usize = 1_024;

/// The ledger of an episode, which all its processes write.
#[derive(Debug)]
pub struct Ledger {
    file: Mutex<File>,
    process: u32,
}

/// One effect of a handler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The process that wrote it.
    pub process: u32,
    /// The time, in milliseconds since 1970.
    pub at: i64,
    run: String,
    pub step: String,
    compensation: bool,
    pub attempt: u32,
    input: Value,
    retry_after: Option<u64>,
}

impl Ledger {
    pub fn open(path: &Path, process: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Ledger { file: Mutex::new(file), process })
    }

    /// Writes a line and returns its number.
    pub fn note(
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

    /// Returns every line, in order.
    pub fn read(path: &Path) -> io::Result<Vec<Line>> {
        let text = std::fs::read(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        text.chunks(LINE).map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }
}

impl Line {
    pub fn effect(&self) -> Effect {
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

/// Returns the time by the clock of this machine, in milliseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
