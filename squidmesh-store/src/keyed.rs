//! Statements on the rows that a list of keys names: found by the primary key, whatever the planner believes.
//!
//! A planner joins the list with the table as its statistics say. Hot tables are mostly empty when they are looked at, so that
//! a plan may read the whole table for every batch once it is full. The store's own connections on Postgres have a planner that is left
//! no choice; elsewhere each row is looked up by its key and then taken by its place, which leaves nothing to choose.

use crate::columns::{Column, names};
use crate::sql::{Row, Sql};

/// How rows are found by the keys of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// By a join with the list, where the connection's planner can only do that by key.
    Join,
    /// By their places, each of which is looked up by key: half as much again, but right on every connection.
    Place,
}

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
            self.join_list(Lookup::Place, "change", table, keys)
        } else {
            self.push(" FROM change WHERE ").push(keys)
        }
    }

    /// The same, on Postgres, for a list of any name. Nobody else may be writing the rows: the row of their run is locked, or
    /// they are themselves, or the statement compares what it finds.
    pub(crate) fn join_list(self, lookup: Lookup, list: &str, table: &str, keys: &str) -> Sql {
        match lookup {
            Lookup::Join => self.push(&format!(" FROM {list} WHERE {keys}")),
            // The ending keeps the lookup what it is: it is not merged into the statement around it.
            Lookup::Place => self.push(&format!(
                " FROM {list} CROSS JOIN LATERAL (SELECT ctid AS place FROM {table} WHERE {keys} OFFSET 0) AS found \
                 WHERE {table}.ctid = place"
            )),
        }
    }
}
