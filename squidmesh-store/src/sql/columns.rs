//! The columns of lists of rows, and the conversion of a list of rows to one array per column.
//!
//! An array of the database layer cannot hold a NULL, so NULL is encoded as a value that the column never has.

use sea_orm::Value;
#[cfg(feature = "postgres")]
use sea_orm::prelude::Uuid;
#[cfg(feature = "postgres")]
use sea_orm::sea_query::ArrayType;

/// The values of one row, in the order of its columns.
pub(crate) type Row = Vec<Value>;

/// A column: its name, and its possible values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only arrays need to know"))]
    nulls: Nulls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nulls {
    /// The column is never NULL.
    Never,
    /// The other values are ids, counts, times, names and JSON: never an empty text, nor the extreme of a number.
    AmongValues,
    /// Like [`AmongValues`](Nulls::AmongValues), but most values are NULL: a list without any other value omits
    /// the column.
    Mostly,
    /// The other values are texts, including the empty one.
    AmongTexts,
}

/// Creates a column that is never NULL.
pub(crate) const fn fixed(name: &'static str) -> Column {
    Column { name, nulls: Nulls::Never }
}

/// Creates a nullable column of ids, counts, times, names or JSON.
pub(crate) const fn nullable(name: &'static str) -> Column {
    Column { name, nulls: Nulls::AmongValues }
}

/// Creates a [`nullable`] column whose values are mostly NULL.
pub(crate) const fn rare(name: &'static str) -> Column {
    Column { name, nulls: Nulls::Mostly }
}

/// Creates a nullable column of any text.
pub(crate) const fn free_text(name: &'static str) -> Column {
    Column { name, nulls: Nulls::AmongTexts }
}

/// Returns the names of columns, separated by commas.
pub(crate) fn names(columns: &[Column]) -> String {
    columns.iter().map(Column::name).collect::<Vec<_>>().join(", ")
}

impl Column {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether a list of these rows omits the column at a position.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_left_out(self, rows: &[&Row], index: usize) -> bool {
        self.nulls == Nulls::Mostly && rows.iter().all(|row| row.get(index).is_some_and(is_null))
    }

    /// Encodes a value of this column for an array.
    #[cfg(feature = "postgres")]
    pub(crate) fn into_list(self, value: &Value) -> Value {
        match (self.nulls, value) {
            (Nulls::AmongTexts, Value::String(text)) => {
                text.as_ref().map_or_else(String::new, |text| format!("={text}")).into()
            }
            (Nulls::AmongValues | Nulls::Mostly, Value::String(None)) => String::new().into(),
            (Nulls::AmongValues | Nulls::Mostly, Value::BigInt(None)) => i64::MIN.into(),
            (Nulls::AmongValues | Nulls::Mostly, Value::Int(None)) => i32::MIN.into(),
            (Nulls::AmongValues | Nulls::Mostly, Value::Uuid(None)) => Uuid::max().into(),
            _ => value.clone(),
        }
    }

    /// Returns the expression that reads this column from the list, whose arrays have the type `of`.
    #[cfg(feature = "postgres")]
    pub(crate) fn listed_as(self, of: &str) -> String {
        let name = self.name;
        let null = match (self.nulls, of) {
            (Nulls::Never, _) => return name.to_owned(),
            (Nulls::AmongTexts, _) => return format!("CASE WHEN {name} <> '' THEN substr({name}, 2) END"),
            (_, "bigint") => i64::MIN.to_string(),
            (_, "integer") => i32::MIN.to_string(),
            (_, "uuid") => Uuid::max().to_string(),
            _ => String::new(),
        };
        format!("nullif({name}, '{null}'::{of})")
    }
}

#[cfg(feature = "postgres")]
fn is_null(value: &Value) -> bool {
    matches!(value, Value::String(None) | Value::BigInt(None) | Value::Int(None) | Value::Uuid(None))
}

/// Returns NULL in the type of a value.
#[cfg(feature = "postgres")]
pub(crate) fn null_of(value: &Value) -> String {
    format!("NULL::{}", type_name(value))
}

/// Returns the name of a value's type.
#[cfg(feature = "postgres")]
pub(crate) fn type_name(value: &Value) -> &'static str {
    type_of(value).1
}

/// Returns values of one type as an array, with the name of that type.
#[cfg(feature = "postgres")]
pub(crate) fn array(values: Vec<Value>) -> (Value, &'static str) {
    let (of, name) = values.first().map_or((ArrayType::String, "text"), type_of);
    (Value::Array(of, Some(Box::new(values))), name)
}

/// Returns ids as an array, which may be empty.
#[cfg(feature = "postgres")]
pub(crate) fn uuids(ids: impl Iterator<Item = Uuid>) -> Value {
    Value::Array(ArrayType::Uuid, Some(Box::new(ids.map(Value::from).collect())))
}

#[cfg(feature = "postgres")]
fn type_of(value: &Value) -> (ArrayType, &'static str) {
    match value {
        Value::Uuid(_) => (ArrayType::Uuid, "uuid"),
        Value::BigInt(_) => (ArrayType::BigInt, "bigint"),
        Value::Int(_) => (ArrayType::Int, "integer"),
        Value::SmallInt(_) => (ArrayType::SmallInt, "smallint"),
        _ => (ArrayType::String, "text"),
    }
}
