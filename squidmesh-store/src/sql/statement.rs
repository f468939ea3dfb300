//! Builds statements: text, placeholders and values together, in the dialect of the database.
//!
//! Knows placeholders and lists of rows. Knows no table.
//!
//! Lists of rows go to SQLite as `VALUES` with a placeholder per value, and to Postgres as one array per column.
//! On Postgres, a statement thus has the same text, and costs little to parse and plan, for any number of rows.
//! A statement that mostly stands alone may pass lists of one row as plain values, which the server executes faster
//! than arrays. Lists of names go to either as one value: an array, or a JSON array.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

use squidmesh_core::port::LeaseToken;

use super::columns::{Column, Row};

/// A statement under construction.
pub(crate) struct Sql {
    backend: DbBackend,
    text: String,
    values: Vec<Value>,
    numbered: bool,
    /// Whether lists of one row go to Postgres as plain values.
    plain: bool,
}

/// A value that a statement may use more than once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept(usize);

impl Sql {
    /// Creates an empty statement for a connection.
    pub(crate) fn on<C: ConnectionTrait>(connection: &C) -> Self {
        Sql::of(connection.get_database_backend())
    }

    fn of(backend: DbBackend) -> Self {
        Sql { backend, text: String::new(), values: Vec::new(), numbered: false, plain: false }
    }

    /// Passes lists of one row as plain values if `plain`.
    pub(crate) fn with_plain_rows(self, plain: bool) -> Self {
        Sql { plain, ..self }
    }

    /// Creates an empty statement whose values may be used more than once. Each placeholder has a number, which
    /// SQLite looks up in a list of them, so use it for a few values only.
    pub(crate) fn numbered<C: ConnectionTrait>(connection: &C) -> Self {
        Sql { numbered: true, ..Sql::on(connection) }
    }

    /// Returns whether the statement is for Postgres, not SQLite.
    pub(crate) fn is_postgres(&self) -> bool {
        self.backend == DbBackend::Postgres
    }

    /// Makes room for a text of this length, so that a long one does not move while it is built.
    pub(crate) fn with_room(mut self, bytes: usize) -> Self {
        self.text.reserve(bytes);
        self
    }

    /// Adds text.
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value, as a placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let number = self.values.len();
        self.placeholder(number)
    }

    fn placeholder(mut self, number: usize) -> Self {
        self.text.push(if self.is_postgres() { '$' } else { '?' });
        if self.is_postgres() || self.numbered {
            self.text.push_str(&number.to_string());
        }
        self
    }

    /// Stores a value for [`put`](Self::put), in a [numbered](Self::numbered) statement.
    pub(crate) fn keep(mut self, value: impl Into<Value>) -> (Self, Kept) {
        debug_assert!(self.numbered, "a placeholder without a number stands for one value");
        self.values.push(value.into());
        let kept = Kept(self.values.len());
        (self, kept)
    }

    /// Adds a stored value.
    pub(crate) fn put(self, kept: Kept) -> Self {
        self.placeholder(kept.0)
    }

    /// Stores texts, as one value.
    pub(crate) fn keep_texts(self, texts: impl IntoIterator<Item = String>) -> (Self, Kept) {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            let (array, _) = super::columns::array(texts.into_iter().map(Value::from).collect());
            return self.keep(array);
        }
        self.keep(serde_json::Value::from_iter(texts).to_string())
    }

    /// Adds ` IN (…)` with stored texts.
    pub(crate) fn among(self, texts: Kept) -> Self {
        if self.is_postgres() {
            self.push(" = ANY(").put(texts).push(")")
        } else {
            self.push(" IN (SELECT value FROM json_each(").put(texts).push("))")
        }
    }

    /// Adds ` NOT IN (…)` with stored texts.
    pub(crate) fn not_among(self, texts: Kept) -> Self {
        if self.is_postgres() {
            self.push(" <> ALL(").put(texts).push(")")
        } else {
            self.push(" NOT IN (SELECT value FROM json_each(").put(texts).push("))")
        }
    }

    /// Adds stored texts as a table with one column, `value`.
    pub(crate) fn table_of(self, texts: Kept) -> Self {
        if self.is_postgres() {
            self.push("unnest(").put(texts).push("::text[]) AS listed(value)")
        } else {
            self.push("json_each(").put(texts).push(")")
        }
    }

    /// Adds values, separated by commas.
    pub(crate) fn list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(", ");
            }
            self = self.bind(value);
        }
        self
    }

    /// Adds rows as a source to select from or to insert.
    pub(crate) fn rows(mut self, columns: &[Column], rows: &[&Row]) -> Self {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            return match rows {
                [row] if self.plain => self.plain_row(columns, row),
                _ => self.arrays(columns, rows),
            };
        }
        debug_assert!(rows.iter().all(|row| row.len() == columns.len()), "a value for each column");
        self = self.push("VALUES ");
        for (index, row) in rows.iter().enumerate() {
            self.text.push_str(if index > 0 { ", (" } else { "(" });
            self = self.list(row.iter().cloned()).push(")");
        }
        self
    }

    /// Adds ` IN (…)` or its equivalent.
    pub(crate) fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Self {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            let (array, _) = super::columns::array(values.into_iter().map(Into::into).collect());
            return self.push(" = ANY(").bind(array).push(")");
        }
        self.push(" IN (").list(values).push(")")
    }

    /// Adds the condition that a column contains none of the tokens of a [list](Self::token_list).
    pub(crate) fn none_of(self, column: &str, tokens: impl FnOnce(Self) -> Self) -> Self {
        if self.is_postgres() {
            tokens(self.push(column).push(" <> ALL(")).push(")")
        } else {
            tokens(self.push("hex(").push(column).push(") NOT IN (SELECT value FROM json_each(")).push("))")
        }
    }

    /// Returns tokens as one value, so that the text is the same for any number of them.
    pub(crate) fn token_list(&self, tokens: &[LeaseToken]) -> Value {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            return super::columns::uuids(tokens.iter().map(|token| *token.as_uuid()));
        }
        let listed: Vec<String> = tokens.iter().map(|token| format!("\"{:X}\"", token.as_uuid().simple())).collect();
        format!("[{}]", listed.join(",")).into()
    }

    /// Adds `SELECT … FROM unnest($1, $2, …)`.
    #[cfg(feature = "postgres")]
    fn arrays(mut self, columns: &[Column], rows: &[&Row]) -> Self {
        let (mut selected, mut names, mut lists) = (Vec::with_capacity(columns.len()), Vec::new(), Vec::new());
        for (index, column) in columns.iter().enumerate() {
            let values = rows.iter().filter_map(|row| row.get(index));
            if column.is_left_out(rows, index) {
                selected.extend(values.take(1).map(super::columns::null_of));
                continue;
            }
            let mut listed = Vec::with_capacity(rows.len());
            listed.extend(values.map(|value| column.into_list(value)));
            let (array, of) = super::columns::array(listed);
            selected.push(column.listed_as(of));
            names.push(column.name());
            lists.push((array, of));
        }
        self = self.push("SELECT ").push(&selected.join(", ")).push(" FROM unnest(");
        for (index, (array, of)) in lists.into_iter().enumerate() {
            self = self.push(if index > 0 { ", " } else { "" }).bind(array).push("::").push(of).push("[]");
        }
        self.push(") AS listed(").push(&names.join(", ")).push(")")
    }

    /// Adds `SELECT … FROM (VALUES ($1, $2, …))`.
    #[cfg(feature = "postgres")]
    fn plain_row(mut self, columns: &[Column], row: &Row) -> Self {
        let (mut selected, mut names, mut values) = (Vec::with_capacity(columns.len()), Vec::new(), Vec::new());
        for (index, (column, value)) in columns.iter().zip(row).enumerate() {
            if column.is_left_out(&[row], index) {
                selected.push(super::columns::null_of(value));
                continue;
            }
            selected.push(column.name().to_owned());
            names.push(column.name());
            values.push(value);
        }
        self = self.push("SELECT ").push(&selected.join(", ")).push(" FROM (VALUES (");
        for (index, value) in values.into_iter().enumerate() {
            let of = super::columns::type_name(value);
            self = self.push(if index > 0 { ", " } else { "" }).bind(value.clone()).push("::").push(of);
        }
        self.push(")) AS listed(").push(&names.join(", ")).push(")")
    }

    /// Adds text for Postgres only, such as row locks. SQLite has one writer and needs none.
    pub(crate) fn on_postgres(self, text: &str) -> Self {
        if self.is_postgres() { self.push(text) } else { self }
    }

    /// Adds text for SQLite only.
    pub(crate) fn on_sqlite(self, text: &str) -> Self {
        if self.is_postgres() { self } else { self.push(text) }
    }

    /// Executes the statement and returns the number of affected rows.
    pub(crate) async fn execute<C: ConnectionTrait>(self, connection: &C) -> Result<u64, DbErr> {
        connection.execute_raw(self.statement()).await.map(|result: ExecResult| result.rows_affected())
    }

    /// Executes the statement and returns its rows.
    pub(crate) async fn fetch<C: ConnectionTrait>(self, connection: &C) -> Result<Vec<QueryResult>, DbErr> {
        connection.query_all_raw(self.statement()).await
    }

    fn statement(self) -> Statement {
        Statement::from_sql_and_values(self.backend, self.text, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{fixed, nullable, rare};

    #[test]
    fn placeholders_follow_the_dialect() {
        let written = |backend| {
            let sql = Sql::of(backend);
            let (first, second) = (vec![Value::from(1), Value::from(2)], vec![Value::from(3), Value::from(4)]);
            let sql = sql.rows(&[fixed("a"), nullable("b")], &[&first, &second]).on_postgres(" FOR UPDATE");
            sql.push(" LIMIT ").bind(1).statement()
        };
        assert_eq!(
            written(DbBackend::Postgres).sql,
            "SELECT a, nullif(b, '-2147483648'::integer) FROM unnest($1::integer[], $2::integer[]) AS listed(a, b) \
             FOR UPDATE LIMIT $3"
        );
        assert_eq!(written(DbBackend::Sqlite).sql, "VALUES (?, ?), (?, ?) LIMIT ?");
        assert_eq!(written(DbBackend::Sqlite).values.map(|values| values.0.len()), Some(5));
    }

    #[test]
    fn a_plain_row_is_passed_without_arrays() {
        let columns = [fixed("a"), nullable("b"), rare("c")];
        let rows = [vec![Value::from(1), Value::Int(None), Value::String(None)]];
        let rows = rows.iter().collect::<Vec<_>>();
        let written = Sql::of(DbBackend::Postgres).with_plain_rows(true).rows(&columns, &rows).statement();
        assert_eq!(written.sql, "SELECT a, b, NULL::text FROM (VALUES ($1::integer, $2::integer)) AS listed(a, b)");
        assert_eq!(written.values.map(|values| values.0), Some(vec![Value::from(1), Value::Int(None)]));
    }

    #[test]
    fn a_list_leaves_out_what_it_has_no_value_of() {
        let written = |second: Option<String>| {
            let sql = Sql::of(DbBackend::Postgres);
            let rows = [vec![Value::from(1), Value::String(None)], vec![Value::from(2), second.into()]];
            sql.rows(&[fixed("a"), rare("b")], &rows.iter().collect::<Vec<_>>()).statement().sql
        };
        assert_eq!(written(None), "SELECT a, NULL::text FROM unnest($1::integer[]) AS listed(a)");
        assert_eq!(
            written(Some("x".to_owned())),
            "SELECT a, nullif(b, ''::text) FROM unnest($1::integer[], $2::text[]) AS listed(a, b)"
        );
    }
}
