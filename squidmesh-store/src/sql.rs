//! Puts statements together: text, placeholders and values in step, in the dialect of the database.
//!
//! Knows placeholders and lists of rows. Knows no table.
//!
//! Lists of rows go to SQLite as `VALUES` with a placeholder for each value, and to Postgres as one array for each column, so
//! that there a statement has the same text, and little to parse and plan, however many rows there are.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

use crate::columns::Column;

/// The values of one row, in the order of its columns.
pub(crate) type Row = Vec<Value>;

/// The most rows in one statement. On SQLite the widest table has 5,000 values then, far below the 32,766 that it takes.
const MAX_ROWS: usize = 256;

/// A statement being written.
pub(crate) struct Sql {
    backend: DbBackend,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// An empty statement for a connection.
    pub(crate) fn on<C: ConnectionTrait>(connection: &C) -> Self {
        Sql { backend: connection.get_database_backend(), text: String::new(), values: Vec::new() }
    }

    /// Whether it is written for Postgres, not SQLite.
    pub(crate) fn is_postgres(&self) -> bool {
        self.backend == DbBackend::Postgres
    }

    /// Adds text.
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value, as a placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        if self.is_postgres() {
            self.text.push('$');
            self.text.push_str(&self.values.len().to_string());
        } else {
            self.text.push('?');
        }
        self
    }

    /// Adds values with commas between them.
    pub(crate) fn list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.text.push_str(", ");
            }
            self = self.bind(value);
        }
        self
    }

    /// Adds rows as something to select from or to insert.
    pub(crate) fn rows(mut self, columns: &[Column], rows: &[&Row]) -> Self {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            return self.arrays(columns, rows);
        }
        debug_assert!(rows.iter().all(|row| row.len() == columns.len()), "a value for each column");
        self = self.push("VALUES ");
        for (place, row) in rows.iter().enumerate() {
            self.text.push_str(if place > 0 { ", (" } else { "(" });
            self = self.list(row.iter().cloned()).push(")");
        }
        self
    }

    /// Adds ` IN (…)`, or what means the same.
    pub(crate) fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Self {
        #[cfg(feature = "postgres")]
        if self.is_postgres() {
            let (array, _) = crate::columns::array(values.into_iter().map(Into::into).collect());
            return self.push(" = ANY(").bind(array).push(")");
        }
        self.push(" IN (").list(values).push(")")
    }

    /// Adds `SELECT … FROM unnest($1, $2, …)`.
    #[cfg(feature = "postgres")]
    fn arrays(mut self, columns: &[Column], rows: &[&Row]) -> Self {
        let (mut taken, mut names, mut lists) = (Vec::with_capacity(columns.len()), Vec::new(), Vec::new());
        for (place, column) in columns.iter().enumerate() {
            let values = rows.iter().filter_map(|row| row.get(place));
            if column.is_left_out(rows, place) {
                taken.extend(values.take(1).map(crate::columns::null_of));
                continue;
            }
            let (array, of) = crate::columns::array(values.map(|value| column.into_list(value)).collect());
            taken.push(column.listed_as(of));
            names.push(column.name());
            lists.push((array, of));
        }
        self = self.push("SELECT ").push(&taken.join(", ")).push(" FROM unnest(");
        for (place, (array, of)) in lists.into_iter().enumerate() {
            self = self.push(if place > 0 { ", " } else { "" }).bind(array).push("::").push(of).push("[]");
        }
        self.push(") AS listed(").push(&names.join(", ")).push(")")
    }

    /// Adds text that only Postgres understands, such as row locks. SQLite has one writer and needs none.
    pub(crate) fn on_postgres(self, text: &str) -> Self {
        if self.is_postgres() { self.push(text) } else { self }
    }

    /// Adds text that only SQLite needs.
    pub(crate) fn on_sqlite(self, text: &str) -> Self {
        if self.is_postgres() { self } else { self.push(text) }
    }

    /// Runs it and tells how many rows it touched.
    pub(crate) async fn execute<C: ConnectionTrait>(self, connection: &C) -> Result<u64, DbErr> {
        connection.execute_raw(self.statement()).await.map(|result: ExecResult| result.rows_affected())
    }

    /// Runs it and reads its rows.
    pub(crate) async fn fetch<C: ConnectionTrait>(self, connection: &C) -> Result<Vec<QueryResult>, DbErr> {
        connection.query_all_raw(self.statement()).await
    }

    fn statement(self) -> Statement {
        Statement::from_sql_and_values(self.backend, self.text, self.values)
    }
}

/// Splits rows into chunks whose sizes are powers of two, or three times one: however many rows there are, a statement has one of
/// sixteen texts, so that the database parses each only once, and there are two or three chunks as a rule, four at most, not one for each digit.
pub(crate) fn chunks<T>(rows: &[T]) -> Chunks<'_, T> {
    Chunks { rows }
}

/// The iterator of [`chunks`].
pub(crate) struct Chunks<'a, T> {
    rows: &'a [T],
}

impl<'a, T> Iterator for Chunks<'a, T> {
    type Item = &'a [T];

    fn next(&mut self) -> Option<&'a [T]> {
        let len = self.rows.len().min(MAX_ROWS);
        let power = 1 << len.checked_ilog2()?;
        let half_more = power + power / 2;
        let (chunk, rest) = self.rows.split_at_checked(if half_more <= len { half_more } else { power })?;
        self.rows = rest;
        Some(chunk)
    }
}

/// Splits rows as the database of a connection likes them best: where they go as arrays there is one text for any number.
pub(crate) fn portions<'a, C: ConnectionTrait, T>(connection: &C, rows: &'a [T]) -> Vec<&'a [T]> {
    if connection.get_database_backend() == DbBackend::Postgres {
        rows.chunks(MAX_ROWS).collect()
    } else {
        chunks(rows).collect()
    }
}

/// Runs one statement for each portion of the rows and tells how many rows they touched together.
pub(crate) async fn execute_chunks<C: ConnectionTrait>(
    connection: &C,
    rows: &[&Row],
    write: impl Fn(Sql, &[&Row]) -> Sql,
) -> Result<u64, DbErr> {
    let mut touched = 0;
    for chunk in portions(connection, rows) {
        let statement = write(Sql::on(connection), chunk);
        touched += statement.execute(connection).await?;
    }
    Ok(touched)
}

/// Runs one statement for each portion of the rows and reads what they return together.
pub(crate) async fn fetch_chunks<C: ConnectionTrait>(
    connection: &C,
    rows: &[&Row],
    write: impl Fn(Sql, &[&Row]) -> Sql,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for chunk in portions(connection, rows) {
        let statement = write(Sql::on(connection), chunk);
        found.extend(statement.fetch(connection).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{fixed, nullable, rare};

    #[test]
    fn chunks_cover_every_row_once_in_few_sizes() {
        let mut sizes = std::collections::BTreeSet::new();
        for len in 0..=1_000 {
            let rows: Vec<usize> = (0..len).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunks.concat(), rows);
            assert!(chunks.len() <= len / MAX_ROWS + 4, "{len} in {} chunks", chunks.len());
            sizes.extend(chunks.iter().map(|chunk| chunk.len()));
        }
        assert!(sizes.iter().all(|size| (1..=MAX_ROWS).contains(size)));
        assert_eq!(sizes.len(), 16, "{sizes:?}");
    }

    #[test]
    fn placeholders_follow_the_dialect() {
        let written = |backend| {
            let sql = Sql { backend, text: String::new(), values: Vec::new() };
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
    fn a_list_leaves_out_what_it_has_no_value_of() {
        let written = |second: Option<String>| {
            let sql = Sql { backend: DbBackend::Postgres, text: String::new(), values: Vec::new() };
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
