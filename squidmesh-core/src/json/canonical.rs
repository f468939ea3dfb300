//! The canonical form of JSON, which is hashed: sorted keys, no white space, and equal numbers written alike.
//!
//! Does not depend on the order in which a map stores its keys, nor on how a database writes numbers back. The
//! form is part of every stored fingerprint: changing it orphans them.
//!
//! Hand-written rather than RFC 8785, which writes every number as a 64-bit float: integers beyond 2^53, which stored
//! JSON may contain, would be hashed alike though they differ. Its order of keys by UTF-16 has no use here.

use serde_json::{Number, Value};

/// What is still to be written, last first; an explicit stack instead of recursion, so that depth costs no stack.
enum Pending<'a> {
    Value(&'a Value),
    Key(&'a str),
    Text(&'static str),
}

/// Returns the canonical form of a value.
pub(crate) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    let mut pending = vec![Pending::Value(value)];
    while let Some(next) = pending.pop() {
        match next {
            Pending::Text(text) => out.push_str(text),
            Pending::Key(key) => {
                write_string(key, &mut out);
                out.push(':');
            }
            Pending::Value(Value::Null) => out.push_str("null"),
            Pending::Value(Value::Bool(true)) => out.push_str("true"),
            Pending::Value(Value::Bool(false)) => out.push_str("false"),
            Pending::Value(Value::Number(number)) => out.push_str(&number_text(number)),
            Pending::Value(Value::String(text)) => write_string(text, &mut out),
            Pending::Value(Value::Array(items)) => {
                out.push('[');
                pending.push(Pending::Text("]"));
                for (place, item) in items.iter().enumerate().rev() {
                    pending.push(Pending::Value(item));
                    if place > 0 {
                        pending.push(Pending::Text(","));
                    }
                }
            }
            Pending::Value(Value::Object(members)) => {
                out.push('{');
                pending.push(Pending::Text("}"));
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(key, _)| key.as_str());
                for (place, (key, value)) in members.into_iter().enumerate().rev() {
                    pending.push(Pending::Value(value));
                    pending.push(Pending::Key(key));
                    if place > 0 {
                        pending.push(Pending::Text(","));
                    }
                }
            }
        }
    }
    out
}

/// The magnitude below which every whole number has its own float.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Formats a number. `1`, `1.0` and `1e0` are one number, and databases convert one into another. It does not
/// matter either whether numbers are stored as they were written (`serde_json/arbitrary_precision`), which may
/// differ in another process.
fn number_text(number: &Number) -> String {
    if let Some(integer) = number.as_u64() {
        return integer.to_string();
    }
    if let Some(integer) = number.as_i64() {
        return integer.to_string();
    }
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() < WHOLE => (float as i64).to_string(),
        Some(float) => format!("{float:e}"),
        None => number.to_string(),
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{0}'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => out.push(character),
            }
        }
    } else {
        out.push_str(text);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":[]}],"a":{"y":null,"x":{}}}"#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":{"x":{},"y":null},"b":[{"a":[],"z":1}]}"#);
    }

    #[test]
    fn equal_numbers_are_written_alike() {
        assert_eq!(
            canonical(&json!([1, 1.0, -0.0, 0.5, u64::MAX, i64::MIN])),
            "[1,1,0,5e-1,18446744073709551615,-9223372036854775808]"
        );
    }

    #[test]
    fn text_reads_back_as_it_was() {
        let text = "a\"b\\c\n\u{0}d\u{7f}é\u{1F600}";
        assert_eq!(serde_json::from_str::<String>(&canonical(&json!(text))).unwrap(), text);
        assert_eq!(canonical(&json!("a\nb")), r#""a\u000ab""#);
    }

    #[test]
    fn depth_costs_no_stack() {
        let mut value = json!(1);
        for _ in 0..100_000 {
            value = Value::Array(vec![value]);
        }
        assert_eq!(canonical(&value).len(), 200_001);
        // Dropping recurses: take the value apart from the outside in.
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap_or(Value::Null);
        }
    }
}
