//! Judges an episode by the history checker: the tables, the ledger, the events and the answers to clients.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_checker::{Call, Effect, EffectKind, Evidence, check_at_rest};
use squidmesh_core::definition::{StepName, WorkflowName};
use squidmesh_core::run::{Attempt, AttemptStatus, FailureKind};
use squidmesh_core::{RunId, RunStatus, ms};
use squidmesh_store::SeaOrmStore;

use crate::event_log::LoggedEvent;
use crate::failure::Failure;
use crate::tally::{self, Tally};
use crate::worker::CRASH_LIMIT;
use crate::workers::{End, Roll};
use crate::workflows::{BOOKED, BOOKINGS};
use squidmesh_tests::ledger::{Ledger, Line};

/// The maximum difference between the clocks of this machine's processes and of its database, plus the time of
/// reading them.
const SKEW: Duration = ms(150);

/// What is left of an episode.
pub(crate) struct Remains<'a> {
    pub(crate) store: &'a SeaOrmStore,
    pub(crate) directory: &'a Path,
    pub(crate) calls: Vec<Call>,
    pub(crate) roll: &'a Roll,
}

/// Returns the violations, and adds up what was done.
pub(crate) async fn judge(remains: Remains<'_>, tally: &mut Tally) -> Result<Vec<String>, Failure> {
    let lines = Ledger::read(&remains.directory.join("ledger"))?;
    let mut evidence = Evidence::read(remains.store).await?;
    evidence.effects = lines.iter().map(Line::effect).collect();
    let mut broken = twice(&lines);
    evidence.times.compensated = compensated(&evidence);
    evidence.effects.extend(rows(remains.store).await?);
    evidence.calls = remains.calls;
    evidence.calls_complete = true;
    evidence.skew = SKEW;
    evidence.crash_limit = Some(CRASH_LIMIT);
    let workflow = WorkflowName::new(BOOKED)?;
    for step in BOOKINGS {
        evidence.transactional.insert((workflow.clone(), StepName::new(step)?));
    }
    broken.extend(events(&mut evidence, &remains.directory.join("events"))?);
    broken.extend(check_at_rest(&evidence).iter().map(ToString::to_string));
    broken.extend(remains.roll.strange.lock().map_err(|_| "a task panicked")?.iter().cloned());
    count(&evidence, tally);
    recoveries(&evidence, &lines, remains.roll, tally)?;
    Ok(broken)
}

/// No attempt is executed by two processes, nor twice by one, except that the same process may execute a
/// transactional step again when its transaction left nothing.
fn twice(lines: &[Line]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let mut broken = Vec::new();
    for line in lines {
        let effect = line.effect();
        let again = BOOKINGS.contains(&effect.step.as_str());
        let what = (effect.run_id, effect.step.clone(), effect.kind as u8, effect.attempt);
        if seen.insert(what, line.process).is_some_and(|process| !again || process != line.process) {
            broken.push(format!("[an attempt is carried out once] process {}: {effect:?}", line.process));
        }
    }
    broken
}

/// Returns the order in which the callbacks that count began. A worker that was paused may begin one late that others
/// have taken over.
fn compensated(evidence: &Evidence) -> BTreeMap<RunId, Vec<StepName>> {
    let mut order: BTreeMap<RunId, Vec<StepName>> = BTreeMap::new();
    for effect in evidence.effects.iter().filter(|effect| effect.kind == EffectKind::Compensation) {
        let run = evidence.runs.get(&effect.run_id).and_then(|record| record.state.steps.get(&effect.step));
        let last = run.and_then(|run| run.compensation.as_ref()).map(|callback| callback.attempt);
        if last == Some(effect.attempt) {
            order.entry(effect.run_id).or_default().push(effect.step.clone());
        }
    }
    order
}

/// Returns the host's rows.
async fn rows(store: &SeaOrmStore) -> Result<Vec<Effect>, Failure> {
    let connection = store.connection();
    let sql = "SELECT run_id, step, attempt FROM torture_rows";
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await?;
    let row = |row: &sea_orm::QueryResult| {
        Ok(Effect {
            run_id: row.try_get_by::<String, _>("run_id")?.parse()?,
            step: StepName::new(row.try_get_by::<String, _>("step")?)?,
            kind: EffectKind::Row,
            attempt: u32::try_from(row.try_get_by::<i64, _>("attempt")?)?,
            input: serde_json::Value::Null,
            retry_after: None,
        })
    };
    rows.iter().map(row).collect()
}

fn events(evidence: &mut Evidence, file: &Path) -> Result<Vec<String>, Failure> {
    let mut broken = Vec::new();
    for line in std::fs::read_to_string(file)?.lines() {
        // An event written on a full disk may be torn.
        let Ok(logged) = serde_json::from_str::<LoggedEvent>(line) else { continue };
        match evidence.runs.get(&logged.run.parse()?) {
            Some(record) => evidence.events.push(logged.event(&record.state)),
            None => broken.push(format!("[only what was committed is emitted] {line} is of a run that is not there")),
        }
    }
    Ok(broken)
}

fn count(evidence: &Evidence, tally: &mut Tally) {
    tally.add("effects of handlers in the ledger", evidence.effects.len() as u64);
    tally.add("events judged", evidence.events.len() as u64);
    tally.add("calls of clients", evidence.calls.len() as u64);
    let unknown = evidence.calls.iter().filter(|call| call.answer == squidmesh_checker::Answer::Unknown);
    tally.add("calls of clients without an answer", unknown.count() as u64);
    for record in evidence.runs.values() {
        tally.add(tally::RUNS, 1);
        let status = match record.state.run.status {
            RunStatus::Completed => "runs completed",
            RunStatus::Failed => "runs failed",
            RunStatus::Cancelled => "runs cancelled",
            _ => "runs left waiting for a person",
        };
        tally.add(status, 1);
        for run in record.state.steps.values() {
            tally.add(tally::STEPS, u64::from(run.output.is_some()));
            tally.add("compensations", u64::from(run.compensation.is_some()));
            let attempts = record.history.attempts_of(run);
            tally.add(
                "attempts lost with their worker, and taken over",
                attempts.iter().filter(|a| is_stale(a)).count() as u64,
            );
        }
    }
}

fn is_stale(attempt: &Attempt) -> bool {
    attempt.status == AttemptStatus::Failed
        && attempt.error.as_ref().is_some_and(|error| error.kind == FailureKind::STALE_RUNNING_STEP)
}

/// Measures how long a dead worker's step waited, from its death to the next attempt.
fn recoveries(evidence: &Evidence, lines: &[Line], roll: &Roll, tally: &mut Tally) -> Result<(), Failure> {
    let by: BTreeMap<(RunId, &str, u32), u32> = lines
        .iter()
        .map(|line| (line.effect().run_id, line.step.as_str(), line.attempt, line.process))
        .map(|(run, step, attempt, process)| ((run, step, attempt), process))
        .collect();
    let ends: BTreeMap<u32, i64> =
        roll.ends.lock().map_err(|_| "a task panicked")?.iter().map(|(process, at, _)| (*process, *at)).collect();
    let pauses = roll.pauses.lock().map_err(|_| "a task panicked")?.clone();
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            for pair in record.history.attempts_of(run).windows(2) {
                let [lost, next] = pair else { continue };
                if !is_stale(lost) {
                    continue;
                }
                let Some(process) = by.get(&(*id, run.step.as_str(), lost.number)) else { continue };
                let began = next.started_at.as_millis();
                let paused =
                    pauses.iter().any(|(who, from, to)| who == process && *from <= began && began <= *to + 5_000);
                tally.add("of them, from workers that stood still", u64::from(paused));
                if let Some(died) = ends.get(process).filter(|died| **died <= began) {
                    let lay = Duration::from_millis(u64::try_from(began - died).unwrap_or(0));
                    tally.took("a dead worker's step lay still", lay);
                }
            }
        }
    }
    Ok(())
}

/// Returns the number of processes that ended in this way.
pub(crate) fn ended(roll: &Roll, end: End) -> u64 {
    roll.ends.lock().map_or(0, |ends| ends.iter().filter(|(_, _, how)| *how == end).count() as u64)
}
