//! Splits lists of rows into statements of bounded size.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult};

use super::columns::Row;
use super::statement::Sql;

/// The maximum number of rows in one statement. On SQLite, the widest table then has 5,000 values, far below the
/// limit of 32,766.
const MAX_ROWS: usize = 256;

/// Splits rows into chunks whose sizes are powers of two, or three times a power of two. For any number of rows, a
/// statement then has one of sixteen texts, so that the database parses each only once. There are usually two or
/// three chunks, at most four, instead of one per binary digit.
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

/// Splits rows as suits the database: where they are bound as arrays, one text serves any number.
pub(crate) fn portions<'a, C: ConnectionTrait, T>(connection: &C, rows: &'a [T]) -> Vec<&'a [T]> {
    if connection.get_database_backend() == DbBackend::Postgres {
        rows.chunks(MAX_ROWS).collect()
    } else {
        chunks(rows).collect()
    }
}

/// Executes one statement per chunk of the rows, and returns the total number of affected rows.
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

/// Executes one statement per chunk of the rows, and returns all their rows.
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
}
