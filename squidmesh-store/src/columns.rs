//! Columns of lists of rows, and how a list of rows becomes one array for each column.
//!
//! An array of the database layer cannot hold a NULL, so NULL goes in the shape of a value that the column never has.

#[cfg(feature = "postgres")]
use sea_orm::Value;
#[cfg(feature = "postgres")]
use sea_orm::prelude::Uuid;
#[cfg(feature = "postgres")]
use sea_orm::sea_query::ArrayType;

#[cfg(feature = "postgres")]
use crate::sql::Row;

/// A column: its name, and what may be in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only arrays need to know"))]
    nulls: Nulls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nulls {
    /// There are none.
    Never,
    /// Besides them there are ids, counts, times, names and JSON: never an empty text, nor the extreme of a number.
    AmongValues,
    /// The same, but as a rule there is nothing else: a list without any value does not have the column at all.
    Mostly,
    /// Besides them there is any text, the empty one too.
    AmongTexts,
}

/// A column that is never NULL.
pub(crate) const fn fixed(name: &'static str) -> Column {
    Column { name, nulls: Nulls::Never }
}

/// A column of ids, counts, times, names or JSON that may be NULL.
pub(crate) const fn nullable(name: &'static str) -> Column {
    Column { name, nulls: Nulls::AmongValues }
}

/// A column like a [`nullable`] one that is rarely anything but NULL.
pub(crate) const fn rare(name: &'static str) -> Column {
    Column { name, nulls: Nulls::Mostly }
}

/// A column of any text that may be NULL.
pub(crate) const fn free_text(name: &'static str) -> Column {
    Column { name, nulls: Nulls::AmongTexts }
}

/// The names of columns, with commas between them.
pub(crate) fn names(columns: &[Column]) -> String {
    columns.iter().map(Column::name).collect::<Vec<_>>().join(", ")
}

impl Column {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a list of these rows does without the column at a place.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_left_out(self, rows: &[&Row], place: usize) -> bool {
        self.nulls == Nulls::Mostly && rows.iter().all(|row| row.get(place).is_some_and(is_null))
    }

    /// A value of this column as it goes into an array.
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

    /// What reads this column from the list, whose arrays are of a type.
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

/// What stands for NULL in a column of the type of a value.
#[cfg(feature = "postgres")]
pub(crate) fn null_of(value: &Value) -> String {
    format!("NULL::{}", type_of(value).1)
}

/// Values of one type as an array, and the name of that type.
#[cfg(feature = "postgres")]
pub(crate) fn array(values: Vec<Value>) -> (Value, &'static str) {
    let (of, name) = values.first().map_or((ArrayType::String, "text"), type_of);
    (Value::Array(of, Some(Box::new(values))), name)
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
