//! Statements on rows that are named by a list of keys. They look rows up by primary key, independent of the
//! planner's statistics.
//!
//! A planner joins the list with the table according to its statistics. Hot tables are mostly empty when they are
//! analyzed, so a plan may scan the whole table for each batch once it is full. Here each row is looked up by its
//! key and then accessed by its `ctid`, which leaves the planner no choice. (A plain join is a few per cent
//! faster, but did scan whole tables: with sequential scans and merge joins disabled, it used a hash join over a
//! full index scan.)

use super::columns::{Column, Row, names};
use super::statement::Sql;

impl Sql {
    /// Adds `WITH change(columns) AS (…)`: a list of rows.
    pub(crate) fn with_change(self, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("WITH ").list_of("change", columns, rows).push(" ")
    }

    /// Adds `name(columns) AS (…)`: a list of rows.
    pub(crate) fn list_of(self, name: &str, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push(name).push("(").push(&names(columns)).push(") AS (").rows(columns, rows).push(")")
    }

    /// Adds `INSERT INTO table (columns) …` with a list of rows.
    pub(crate) fn insert(self, table: &str, columns: &[Column], rows: &[&Row]) -> Sql {
        self.push("INSERT INTO ").push(table).push(" (").push(&names(columns)).push(") ").rows(columns, rows)
    }

    /// Continues after `UPDATE table SET …`: joins the rows of the table with the list `change` by `keys`.
    pub(crate) fn join_change(self, table: &str, keys: &str) -> Sql {
        if self.is_postgres() {
            self.join_list("change", table, keys)
        } else {
            self.push(" FROM change WHERE ").push(keys)
        }
    }

    /// Like [`join_change`](Self::join_change), on Postgres, for a list of another name. No other transaction may
    /// write the rows: the row of their run is locked, or the rows themselves are, or the statement compares what
    /// it finds.
    ///
    /// `OFFSET 0` keeps the lookup from being merged into the surrounding statement.
    pub(crate) fn join_list(self, list: &str, table: &str, keys: &str) -> Sql {
        self.push(&format!(
            " FROM {list} CROSS JOIN LATERAL (SELECT ctid AS row_ctid FROM {table} WHERE {keys} OFFSET 0) AS matched \
             WHERE {table}.ctid = row_ctid"
        ))
    }
}
