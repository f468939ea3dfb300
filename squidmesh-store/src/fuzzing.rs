//! The row codec, for fuzzing: any content of a table decodes to the runtime's data or to an error. Not part of
//! the API.
//!
//! Knows tables and columns by name. What the database's own types permit is covered by the tests on real
//! databases.

use std::collections::BTreeMap;

use sea_orm::sea_query::ValueType;
use sea_orm::{TryGetable, Value};
use squidmesh_core::definition::Definition;
use squidmesh_core::port::{IntentRecord, StoreError};
use squidmesh_core::run::{Attempt, AuditEvent, ReceivedSignal, StepRun};
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::{Run, RunId};

use crate::rows::{self, Columns, Unreadable};
use crate::sql::{Column, Row};

/// A database value.
pub use sea_orm::Value as Cell;

/// A row, by column name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cellular(pub BTreeMap<&'static str, Cell>);

impl Columns for Cellular {
    fn cell<T: TryGetable + ValueType>(&self, column: &'static str) -> Option<T> {
        T::try_from(self.0.get(column)?.clone()).ok()
    }
}

/// A decoded row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decoded {
    /// A row of `squidmesh_runs`.
    Run(Box<Run>, Vec<ReceivedSignal>),
    /// A row of `squidmesh_step_runs`.
    StepRun(Box<StepRun>),
    /// A row of `squidmesh_attempts`.
    Attempt(Box<Attempt>),
    /// A row of `squidmesh_audit`.
    Audit(Box<AuditEvent>),
    /// A row of `squidmesh_intents`.
    Intent(Box<IntentRecord>),
    /// A row of `squidmesh_definitions`.
    Definition(Box<Definition>),
    /// A row of `squidmesh_triggers`.
    Trigger(Box<TriggerRecord>),
}

/// A table of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Table {
    /// `squidmesh_runs`
    Runs,
    /// `squidmesh_step_runs`
    StepRuns,
    /// `squidmesh_attempts`
    Attempts,
    /// `squidmesh_audit`
    Audit,
    /// `squidmesh_intents`
    Intents,
    /// `squidmesh_definitions`
    Definitions,
    /// `squidmesh_triggers`
    Triggers,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 7] = [
        Table::Runs,
        Table::StepRuns,
        Table::Attempts,
        Table::Audit,
        Table::Intents,
        Table::Definitions,
        Table::Triggers,
    ];

    /// Returns the names of the table's columns.
    pub fn columns(self) -> Vec<&'static str> {
        let columns = match self {
            Table::Runs => rows::RUN_COLUMNS,
            Table::StepRuns => rows::STEP_RUN_COLUMNS,
            Table::Attempts => rows::ATTEMPT_COLUMNS,
            Table::Audit => rows::AUDIT_COLUMNS,
            Table::Intents => rows::INTENT_COLUMNS,
            Table::Definitions => rows::DEFINITION_COLUMNS,
            Table::Triggers => return rows::TRIGGER_COLUMNS.to_vec(),
        };
        columns.iter().map(Column::name).collect()
    }

    /// Decodes a row of this table.
    ///
    /// # Errors
    /// Returns [`StoreError::Corrupt`] for an unreadable row.
    pub fn decode(self, row: &Cellular) -> Result<Decoded, StoreError> {
        let of = |unreadable: Unreadable| unreadable.of("a row");
        match self {
            Table::Runs => {
                rows::run_from_row(row).and_then(|run| Ok(Decoded::Run(Box::new(run), rows::signals_from_row(row)?)))
            }
            Table::StepRuns => rows::step_run_from_row(row).map(Box::new).map(Decoded::StepRun),
            Table::Attempts => rows::attempt_from_row(row).map(Box::new).map(Decoded::Attempt),
            Table::Audit => rows::audit_from_row(row).map(Box::new).map(Decoded::Audit),
            Table::Intents => rows::intent_from_row(row).map(Box::new).map(Decoded::Intent),
            Table::Definitions => rows::definition_from_row(row).map(Box::new).map(Decoded::Definition),
            Table::Triggers => rows::trigger_from_row(row).map(Box::new).map(Decoded::Trigger),
        }
        .map_err(of)
    }

    fn row(self, values: Row) -> Cellular {
        Cellular(self.columns().into_iter().zip(values).collect())
    }
}

/// Encodes a decoded row, if the row has no columns besides its own data. Intents are the exception: they are
/// written from other data, and return `None`.
///
/// # Errors
/// Returns [`StoreError::Refused`] for data that cannot be written.
pub fn encode(run: RunId, decoded: &Decoded) -> Result<Option<Cellular>, StoreError> {
    Ok(Some(match decoded {
        Decoded::Run(run, signals) => {
            let signals = Some(signals.as_slice()).filter(|signals| !signals.is_empty());
            Table::Runs.row(rows::run_to_row(run, signals)?)
        }
        Decoded::StepRun(step) => Table::StepRuns.row(rows::step_run_to_row(run, step)?),
        Decoded::Attempt(attempt) => Table::Attempts.row(rows::attempt_to_row(run, attempt)?),
        Decoded::Audit(event) => Table::Audit.row(rows::audit_to_row(run, 0, event)?),
        Decoded::Definition(definition) => {
            Table::Definitions.row(rows::definition_to_row(definition, squidmesh_core::Timestamp::EPOCH)?)
        }
        Decoded::Trigger(record) => Table::Triggers.row(rows::trigger_to_row(record)?),
        Decoded::Intent(_) => return Ok(None),
    }))
}

/// Returns a valid row of `squidmesh_intents`.
pub fn intent(intent: &squidmesh_core::dispatch::Intent) -> Cellular {
    Table::Intents.row(rows::intent_to_row(intent))
}

/// NULL in a text column.
pub const NULL: Cell = Value::String(None);
