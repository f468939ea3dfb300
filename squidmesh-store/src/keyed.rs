//! Statements on the rows that a list of keys names: found by the primary key, whatever the planner believes.
//!
//! A planner joins the list with the table as its statistics say. Hot tables are mostly empty when they are looked at, so that
//! a plan may read the whole table for every batch once it is full. Here each row is looked up by its key and then
//! taken by its place, which leaves nothing to choose.

use crate::columns::{Column, names};
use crate::sql::{Row, Sql};

impl Sql {
    /// `WITH change(columns) AS (…)`: a list of rows.
    pub(crate) fn with_change(self, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("WITH change(").push(&names(columns)).push(") AS (").rows(columns, rows).push(") ")
    }

    /// `INSERT INTO table (columns) …` of a list of rows.
    pub(crate) fn insert(self, table: &str, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("INSERT INTO ").push(table).push(" (").push(&names(columns)).push(") ").rows(columns, rows)
    }

    /// Goes on after `UPDATE table SET …`: the rows of the table that match the list by `keys`. Nobody else may be writing them:
    /// the row of their run is locked, or they are themselves, or the statement compares what it finds.
    pub(crate) fn join_change(self, table: &str, keys: &str) -> Sql {
        if self.is_postgres() {
            // The ending keeps the lookup what it is: it is not merged into the statement around it.
            self.push(" FROM ").places(table, keys, "OFFSET 0")
        } else {
            self.push(" FROM change WHERE ").push(keys)
        }
    }

    /// `DELETE` of the intents whose run and step are the list's `run` and `name`. Claims, extensions and releases lock no run, so
    /// that the rows are locked before they are taken.
    pub(crate) fn delete_intents(self) -> Sql {
        let sql = self.push("DELETE FROM squidmesh_intents");
        if sql.is_postgres() {
            sql.push(" USING ").places("squidmesh_intents", "run_id = run AND step = name", "FOR UPDATE")
        } else {
            sql.push(" WHERE (run_id, step) IN (SELECT run, name FROM change)")
        }
    }

    fn places(self, table: &str, keys: &str, ending: &str) -> Sql {
        self.push(&format!(
            "change CROSS JOIN LATERAL (SELECT ctid AS place FROM {table} WHERE {keys} {ending}) AS found \
             WHERE {table}.ctid = place"
        ))
    }
}
