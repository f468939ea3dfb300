//! How the facts of a run are stored in tables: one file per table, with its columns, its encoding and its
//! decoding.
//!
//! Knows columns and their order. Knows no statement that reads or writes them.

mod attempt;
mod audit;
mod cell;
mod definition;
mod intent;
mod run;
mod step_run;
mod trigger;

pub(crate) use attempt::{ATTEMPT_COLUMNS, attempt_from_row, attempt_to_row};
pub(crate) use audit::{AUDIT_COLUMNS, audit_from_row, audit_to_row};
#[cfg(feature = "fuzzing")]
pub(crate) use cell::Columns;
pub(crate) use cell::Unreadable;
pub(crate) use definition::{DEFINITION_COLUMNS, definition_from_row, definition_to_row};
pub(crate) use intent::{
    HELD_INTENT, INTENT_COLUMNS, INTENT_KEY, NEW_INTENT, REMOVED_INTENT, REPINNED_INTENT, due_intent_from_row,
    intent_from_row, intent_key_to_row, intent_state_from_row, intent_to_row, lease_from_row, lease_to_row,
    repinned_intent_to_row,
};
pub(crate) use run::{
    CHANGED_RUN, RUN_COLUMNS, SUMMARY_COLUMNS, VALID_ID, changed_run_to_row, run_from_row, run_id_from_row, run_to_row,
    signals_from_row, summary_from_row,
};
pub(crate) use step_run::{
    CHANGED_STEP_RUN, STEP_RUN_COLUMNS, changed_step_run_to_row, step_run_from_row, step_run_to_row,
};
pub(crate) use trigger::{TRIGGER_COLUMNS, trigger_from_row, trigger_to_row};
