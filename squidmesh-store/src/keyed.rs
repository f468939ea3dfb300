//! Statements on the rows that a list of keys names: found by the primary key, whatever the planner believes.
//!
//! A planner joins the list with the table as its statistics say. Hot tables are mostly empty when they are looked at, so that
//! a plan may read the whole table for every batch once it is full. Here each row is looked up by its key and then
//! taken by its place, which leaves nothing to choose. (A plain join is a few per cent faster, and did read whole tables: with sequential
//! scans and merge joins forbidden, as a hash join with a scan of the whole index.)

use crate::columns::{Column, names};
use crate::sql::{Row, Sql};

impl Sql {
    /// `WITH change(columns) AS (…)`: a list of rows.
    pub(crate) fn with_change(self, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("WITH ").list_of("change", columns, rows).push(" ")
    }

    /// `name(columns) AS (…)`: a list of rows.
    pub(crate) fn list_of(self, name: &str, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push(name).push("(").push(&names(columns)).push(") AS (").rows(columns, rows).push(")")
    }

    /// `INSERT INTO table (columns) …` of a list of rows.
    pub(crate) fn insert(self, table: &str, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("INSERT INTO ").push(table).push(" (").push(&names(columns)).push(") ").rows(columns, rows)
    }

    /// Goes on after `UPDATE table SET …`: the rows of the table that match the list `change` by `keys`.
    pub(crate) fn join_change(self, table: &str, keys: &str) -> Sql {
        if self.is_postgres() {
            self.join_list("change", table, keys)
        } else {
            self.push(" FROM change WHERE ").push(keys)
        }
    }

    /// The same, on Postgres, for a list of another name. Nobody else may be writing the rows: the row of their run is locked, or
    /// they are themselves, or the statement compares what it finds.
    ///
    /// The ending keeps the lookup what it is: it is not merged into the statement around it.
    pub(crate) fn join_list(self, list: &str, table: &str, keys: &str) -> Sql {
        self.push(&format!(
            " FROM {list} CROSS JOIN LATERAL (SELECT ctid AS place FROM {table} WHERE {keys} OFFSET 0) AS found \
             WHERE {table}.ctid = place"
        ))
    }
}
