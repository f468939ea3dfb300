//! Puts statements together: text, placeholders and values in step, in the dialect of the database.
//!
//! Knows placeholders and lists of rows. Knows no table.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

/// The values of one row, in the order of its columns.
pub(crate) type Row = Vec<Value>;

/// The most rows in one statement. With the widest table that is 5,000 values, far below what SQLite (32,766) and Postgres
/// (65,535) take.
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

    /// Adds `(a, b), (c, d), …`.
    pub(crate) fn rows(mut self, rows: &[&Row]) -> Self {
        for (place, row) in rows.iter().enumerate() {
            self.text.push_str(if place > 0 { ", (" } else { "(" });
            self = self.list(row.iter().cloned()).push(")");
        }
        self
    }

    /// Adds text that only Postgres understands, such as row locks. SQLite has one writer and needs none.
    pub(crate) fn on_postgres(self, text: &str) -> Self {
        if self.is_postgres() { self.push(text) } else { self }
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

/// Splits rows into chunks whose sizes are powers of two: however many rows there are, a statement has one of nine texts,
/// so that the database parses each only once.
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
        let size = 1 << self.rows.len().min(MAX_ROWS).checked_ilog2()?;
        let (chunk, rest) = self.rows.split_at_checked(size)?;
        self.rows = rest;
        Some(chunk)
    }
}

/// Runs one statement for each chunk of the rows and tells how many rows they touched together.
pub(crate) async fn execute_chunks<C: ConnectionTrait>(
    connection: &C,
    rows: &[&Row],
    write: impl Fn(Sql, &[&Row]) -> Sql,
) -> Result<u64, DbErr> {
    let mut touched = 0;
    for chunk in chunks(rows) {
        let statement = write(Sql::on(connection), chunk);
        touched += statement.execute(connection).await?;
    }
    Ok(touched)
}

/// Runs one statement for each chunk of the rows and reads what they return together.
pub(crate) async fn fetch_chunks<C: ConnectionTrait>(
    connection: &C,
    rows: &[&Row],
    write: impl Fn(Sql, &[&Row]) -> Sql,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for chunk in chunks(rows) {
        let statement = write(Sql::on(connection), chunk);
        found.extend(statement.fetch(connection).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once_in_sizes_of_powers_of_two() {
        for len in [0, 1, 2, 3, 7, 255, 256, 257, 1_000] {
            let rows: Vec<usize> = (0..len).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunks.concat(), rows);
            assert!(chunks.iter().all(|chunk| chunk.len().is_power_of_two() && chunk.len() <= MAX_ROWS), "{len}");
        }
        assert_eq!(chunks(&[0; 1_000]).count(), 7);
    }

    #[test]
    fn placeholders_follow_the_dialect() {
        let written = |backend| {
            let sql = Sql { backend, text: String::new(), values: Vec::new() };
            let (first, second) = (vec![Value::from(1), Value::from(2)], vec![Value::from(3), Value::from(4)]);
            sql.push("VALUES ").rows(&[&first, &second]).on_postgres(" FOR UPDATE").statement()
        };
        assert_eq!(written(DbBackend::Postgres).sql, "VALUES ($1, $2), ($3, $4) FOR UPDATE");
        assert_eq!(written(DbBackend::Sqlite).sql, "VALUES (?, ?), (?, ?)");
        assert_eq!(written(DbBackend::Sqlite).values.map(|values| values.0.len()), Some(4));
    }
}
