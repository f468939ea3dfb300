//! Encodes and decodes single values: JSON is text, times are milliseconds, counters have 64 bits.
//!
//! The error for an unreadable value names the column and the reason, and never the content.

use std::str::FromStr;

use sea_orm::prelude::Uuid;

use sea_orm::{QueryResult, TryGetable, sea_query};
use serde::Serialize;
use serde::de::DeserializeOwned;
use squidmesh_core::Timestamp;
use squidmesh_core::port::StoreError;

/// The error for a column with an invalid value.
#[derive(Debug)]
pub(crate) struct Unreadable {
    column: &'static str,
    reason: String,
}

impl Unreadable {
    /// Creates the error for a column.
    pub(crate) fn new(column: &'static str, reason: impl Into<String>) -> Self {
        Unreadable { column, reason: reason.into() }
    }

    /// Converts this to the error of the whole item, with its kind and key.
    pub(crate) fn of(self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { what: what.into(), reason: format!("column {} {}", self.column, self.reason) }
    }
}

/// A row: a value per column.
pub(crate) trait Columns {
    /// Returns the value of a column, or `None` if it has another type, or is NULL where that is not allowed.
    fn cell<T: TryGetable + sea_query::ValueType>(&self, column: &'static str) -> Option<T>;
}

impl Columns for QueryResult {
    fn cell<T: TryGetable + sea_query::ValueType>(&self, column: &'static str) -> Option<T> {
        self.try_get_by(column).ok()
    }
}

fn get<T: TryGetable + sea_query::ValueType>(row: &impl Columns, column: &'static str) -> Result<T, Unreadable> {
    row.cell(column).ok_or_else(|| Unreadable::new(column, "is NULL or has the wrong type"))
}

pub(crate) fn text(row: &impl Columns, column: &'static str) -> Result<String, Unreadable> {
    get(row, column)
}

pub(crate) fn optional_text(row: &impl Columns, column: &'static str) -> Result<Option<String>, Unreadable> {
    get(row, column)
}

pub(crate) fn uuid(row: &impl Columns, column: &'static str) -> Result<Uuid, Unreadable> {
    get(row, column)
}

pub(crate) fn optional_uuid(row: &impl Columns, column: &'static str) -> Result<Option<Uuid>, Unreadable> {
    get(row, column)
}

/// Reads a name, status or fingerprint: text with a format of its own.
pub(crate) fn parsed<T: FromStr>(row: &impl Columns, column: &'static str) -> Result<T, Unreadable> {
    parse(&text(row, column)?, column)
}

pub(crate) fn optional_parsed<T: FromStr>(row: &impl Columns, column: &'static str) -> Result<Option<T>, Unreadable> {
    optional_text(row, column)?.map(|text| parse(&text, column)).transpose()
}

fn parse<T: FromStr>(text: &str, column: &'static str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::new(column, "has the wrong format"))
}

/// Reads one of a set of words.
pub(crate) fn word<T>(
    row: &impl Columns,
    column: &'static str,
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<T, Unreadable> {
    from_name(&text(row, column)?).ok_or_else(|| Unreadable::new(column, "has a value that this version does not know"))
}

pub(crate) fn json<T: DeserializeOwned>(row: &impl Columns, column: &'static str) -> Result<T, Unreadable> {
    from_json(&text(row, column)?, column)
}

pub(crate) fn optional_json<T: DeserializeOwned>(
    row: &impl Columns,
    column: &'static str,
) -> Result<Option<T>, Unreadable> {
    optional_text(row, column)?.map(|text| from_json(&text, column)).transpose()
}

/// Parses JSON. The parser's own message may quote the text, so the error shows only the position.
fn from_json<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| {
        let sort = match error.classify() {
            serde_json::error::Category::Data => "is JSON with the wrong structure",
            _ => "is not JSON",
        };
        Unreadable::new(column, format!("{sort} (line {}, column {})", error.line(), error.column()))
    })
}

pub(crate) fn time(row: &impl Columns, column: &'static str) -> Result<Timestamp, Unreadable> {
    get(row, column).map(Timestamp::from_millis)
}

pub(crate) fn optional_time(row: &impl Columns, column: &'static str) -> Result<Option<Timestamp>, Unreadable> {
    get(row, column).map(|millis: Option<i64>| millis.map(Timestamp::from_millis))
}

/// Reads a counter of any width.
pub(crate) fn count<T: TryFrom<i64>>(row: &impl Columns, column: &'static str) -> Result<T, Unreadable> {
    within(get(row, column)?, column)
}

pub(crate) fn optional_count<T: TryFrom<i64>>(
    row: &impl Columns,
    column: &'static str,
) -> Result<Option<T>, Unreadable> {
    get::<Option<i64>>(row, column)?.map(|number| within(number, column)).transpose()
}

/// The largest counter accepted. No deployment counts this far, so counters can always be incremented and written.
const MOST: i64 = i64::MAX / 2;

fn within<T: TryFrom<i64>>(number: i64, column: &'static str) -> Result<T, Unreadable> {
    let number = Some(number).filter(|number| *number <= MOST);
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| Unreadable::new(column, "is out of range"))
}

/// Encodes a value as JSON.
///
/// # Errors
/// Returns [`StoreError::Refused`] for a value that JSON cannot express; the data of a run never is one.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Refused { doing: "writing a value as JSON", source: Box::new(error) })
}

pub(crate) fn to_optional_json<T: Serialize + ?Sized>(value: Option<&T>) -> Result<Option<String>, StoreError> {
    value.map(to_json).transpose()
}

pub(crate) fn to_millis(time: Timestamp) -> i64 {
    time.as_millis()
}

pub(crate) fn to_optional_millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

/// Encodes a counter for the database. Counters grow by one: the end of the range is never reached.
pub(crate) fn to_count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
