//! The schema epoch: stops a process when its database is migrated to a schema that the process cannot work with.
//!
//! An epoch is a table without rows, whose name ends in the epoch's number. Every claim and every commit names it. A
//! migration that earlier versions cannot work with drops the table and creates that of the next epoch. Every statement
//! that their processes send from then on fails before it is executed, with an error that says what to do.

/// A condition that always holds. A statement that it is part of cannot be executed in another epoch.
pub(crate) const IN_THIS_EPOCH: &str = "EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL";

/// The code of Postgres for a table that does not exist. SQLite has none of its own.
const UNDEFINED_TABLE: &str = "42P01";

/// The beginning of the names of these tables.
const TABLES: &str = "squidmesh_epoch_";

/// Returns the text for a database's error, if the error means that the statement is of another epoch: the table does not
/// exist.
pub(crate) fn explain(code: Option<&str>, message: &str) -> Option<String> {
    let is_missing = code == Some(UNDEFINED_TABLE) || message.starts_with("no such table");
    (is_missing && message.contains(TABLES)).then(|| {
        format!(
            "the database was migrated for another version, with which this one cannot share it: stop this process and \
             start that version ({message})"
        )
    })
}
