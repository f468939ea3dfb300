//! Binds the values of a Postgres statement, on connections that the store manages itself.
//!
//! Knows the types that the store writes, and no others.

use sea_orm::prelude::Uuid;
use sea_orm::sea_query::{ArrayType, Value, Values};
use sea_orm::sqlx::Arguments;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::PgArguments;

/// Returns the values as arguments, in order.
pub(crate) fn arguments(values: Option<Values>) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values.into_iter().flat_map(|values| values.0) {
        match value {
            Value::Bool(value) => arguments.add(value),
            Value::SmallInt(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::BigInt(value) => arguments.add(value),
            Value::String(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Array(of, Some(values)) => list(&mut arguments, &of, *values),
            other => Err(unknown(&other)),
        }?;
    }
    Ok(arguments)
}

fn list(arguments: &mut PgArguments, of: &ArrayType, values: Vec<Value>) -> Result<(), BoxDynError> {
    fn each<T>(values: Vec<Value>, take: impl Fn(Value) -> Result<T, Value>) -> Result<Vec<T>, BoxDynError> {
        values.into_iter().map(|value| take(value).map_err(|other| unknown(&other))).collect()
    }
    match of {
        ArrayType::SmallInt => arguments.add(each(values, |value| match value {
            Value::SmallInt(value) => Ok(value),
            other => Err(other),
        })?),
        ArrayType::Int => arguments.add(each(values, |value| match value {
            Value::Int(value) => Ok(value),
            other => Err(other),
        })?),
        ArrayType::BigInt => arguments.add(each(values, |value| match value {
            Value::BigInt(value) => Ok(value),
            other => Err(other),
        })?),
        ArrayType::Uuid => arguments.add(each::<Option<Uuid>>(values, |value| match value {
            Value::Uuid(value) => Ok(value),
            other => Err(other),
        })?),
        _ => arguments.add(each(values, |value| match value {
            Value::String(value) => Ok(value),
            other => Err(other),
        })?),
    }
}

/// The error names the type, and shows nothing of the value.
fn unknown(value: &Value) -> BoxDynError {
    format!("the store binds no value of the type {:?}", std::mem::discriminant(value)).into()
}
