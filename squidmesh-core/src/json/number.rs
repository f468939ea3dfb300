//! Compares numbers by their value, independent of the type that holds them.

use std::cmp::Ordering;

use serde_json::Number;

/// Compares two numbers. Returns `None` if one of them is beyond every type.
pub(crate) fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (None, Some(other)) => with_whole(one.as_f64()?, other),
        (Some(one), None) => with_whole(other.as_f64()?, one).map(Ordering::reverse),
        (None, None) => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// The bound above every 64-bit integer. Every float below it is an exact integer if it has no fraction.
const BEYOND: f64 = 1e30;

fn with_whole(float: f64, whole: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.abs() >= BEYOND {
        return Some(if float > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let floor = float.floor();
    let ordering = (floor as i128).cmp(&whole);
    Some(if ordering == Ordering::Equal && float > floor { Ordering::Greater } else { ordering })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_what_they_are_worth() {
        let ordered = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-0.5),
            json!(0),
            json!(0.25),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_u64),
            json!(i64::MAX),
            json!(9_223_372_036_854_775_808.0),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
        ];
        let number = |value: &serde_json::Value| match value {
            serde_json::Value::Number(number) => number.clone(),
            other => panic!("{other}"),
        };
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(compare(&number(one), &number(other)), Some(at.cmp(&other_at)), "{one} and {other}");
            }
        }
        assert_eq!(compare(&number(&json!(1.0)), &number(&json!(1))), Some(Ordering::Equal));
    }
}
