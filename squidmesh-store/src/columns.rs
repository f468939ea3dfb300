//! Columns of lists of rows, and how a list of rows becomes one array for each column.
//!
//! An array of the database layer cannot hold a NULL, so NULL goes in the shape of a value that the column never has.

#[cfg(feature = "postgres")]
use sea_orm::Value;
#[cfg(feature = "postgres")]
use sea_orm::prelude::Uuid;
#[cfg(feature = "postgres")]
use sea_orm::sea_query::ArrayType;

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

    /// A value of this column as it goes into an array.
    #[cfg(feature = "postgres")]
    pub(crate) fn into_list(self, value: &Value) -> Value {
        match (self.nulls, value) {
            (Nulls::AmongTexts, Value::String(text)) => {
                text.as_ref().map_or_else(String::new, |text| format!("={text}")).into()
            }
            (Nulls::AmongValues, Value::String(None)) => String::new().into(),
            (Nulls::AmongValues, Value::BigInt(None)) => i64::MIN.into(),
            (Nulls::AmongValues, Value::Int(None)) => i32::MIN.into(),
            (Nulls::AmongValues, Value::Uuid(None)) => Uuid::max().into(),
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
            (Nulls::AmongValues, "bigint") => i64::MIN.to_string(),
            (Nulls::AmongValues, "integer") => i32::MIN.to_string(),
            (Nulls::AmongValues, "uuid") => Uuid::max().to_string(),
            (Nulls::AmongValues, _) => String::new(),
        };
        format!("nullif({name}, '{null}'::{of})")
    }
}

/// Values of one type as an array, and the name of that type.
#[cfg(feature = "postgres")]
pub(crate) fn array(values: Vec<Value>) -> (Value, &'static str) {
    let (of, name) = match values.first() {
        Some(Value::Uuid(_)) => (ArrayType::Uuid, "uuid"),
        Some(Value::BigInt(_)) => (ArrayType::BigInt, "bigint"),
        Some(Value::Int(_)) => (ArrayType::Int, "integer"),
        Some(Value::SmallInt(_)) => (ArrayType::SmallInt, "smallint"),
        _ => (ArrayType::String, "text"),
    };
    (Value::Array(of, Some(Box::new(values))), name)
}
