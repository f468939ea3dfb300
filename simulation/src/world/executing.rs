//! The work that each process is executing: a process never takes over from itself what it is still executing.
//!
//! Work that another process took over in between may come back: the attempt that still runs here is lost already.
//! A claim therefore forgets what other processes execute of the intent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squidmesh_checker::{EffectKind, Violation, rules};
use squidmesh_core::StepContext;
use squidmesh_core::definition::StepName;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::run::RunSnapshot;

use super::scheduler::ProcessId;

/// What is executed of an intent: a callback of a compensation, or what a step does, beside which it may write a row.
type Piece = (IntentKey, StepName, u8);

/// The work being executed by the process that claimed it last.
#[derive(Clone, Default)]
pub(crate) struct Executing(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// The latest execution of each piece.
    pieces: BTreeMap<Piece, Execution>,
    /// The process that claimed each intent last.
    claimers: BTreeMap<IntentKey, ProcessId>,
    /// The last attempt of each intent's work that had begun when another process claimed the intent.
    lost: BTreeMap<(IntentKey, StepName), u32>,
    executions: u64,
}

#[derive(Clone, Copy, PartialEq)]
struct Execution {
    process: ProcessId,
    attempt: u32,
    number: u64,
}

impl Executing {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a process claimed an intent of a run. The attempts that others have begun of it are lost.
    pub(crate) fn claimed(&self, key: &IntentKey, process: ProcessId, state: Option<&RunSnapshot>) {
        let mut table = self.table();
        if table.claimers.insert(key.clone(), process) != Some(process) {
            let steps = state.into_iter().flat_map(|state| state.steps.values());
            let begun = steps.filter_map(|step| match key.target.step() {
                Some(claimed) => (*claimed == step.step).then_some((step, step.attempt)),
                None => Some((step, step.compensation.as_ref()?.attempt)),
            });
            table.lost.extend(begun.map(|(step, attempt)| ((key.clone(), step.step.clone()), attempt)));
        }
        table.pieces.retain(|(intent, ..), execution| intent != key || execution.process == process);
    }

    /// Marks work as begun by a process.
    ///
    /// # Errors
    /// The process executes the work already.
    pub(crate) fn begin(&self, process: ProcessId, context: &StepContext, kind: EffectKind) -> Result<Held, Violation> {
        let (run, step, attempt) = (context.run_id, &context.step, context.attempt);
        let key = match kind {
            EffectKind::Compensation => IntentKey::compensation(run),
            EffectKind::Step | EffectKind::Row => IntentKey::step(run, step.clone()),
        };
        let piece = (key, step.clone(), kind as u8);
        let mut table = self.table();
        let is_lost = table.lost.get(&(piece.0.clone(), step.clone())).is_some_and(|lost| attempt <= *lost);
        let taken = is_lost || table.claimers.get(&piece.0).is_some_and(|last| *last != process);
        // A process that lost the intent to another before it began, begins an attempt that is lost already, as is one
        // that is older than the attempt that it executes.
        let execution = match table.pieces.get(&piece) {
            _ if taken => None,
            Some(latest) if attempt < latest.attempt => None,
            Some(_) => {
                let what = format!("process {process} executes the {kind:?} {step} while it executes it already");
                return Err(Violation { rule: rules::ALONE, run: Some(run), what });
            }
            None => {
                table.executions += 1;
                let execution = Execution { process, attempt, number: table.executions };
                table.pieces.insert(piece.clone(), execution);
                Some((piece, execution))
            }
        };
        Ok(Held { executing: self.clone(), execution })
    }
}

/// Marks work as being executed until it is dropped, because the work ends or its process does.
pub(crate) struct Held {
    executing: Executing,
    execution: Option<(Piece, Execution)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((piece, execution)) = &self.execution {
            let mut table = self.executing.table();
            if table.pieces.get(piece) == Some(execution) {
                table.pieces.remove(piece);
            }
        }
    }
}
