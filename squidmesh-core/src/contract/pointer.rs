//! References within a schema: `#/$defs/Order`, percent-encoded where the name needs it.

use serde_json::Value;

/// Returns the part of a schema that a reference names; `None` if it does not exist or is in another document.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(&decoded(reference.strip_prefix('#')?)?)
}

/// Returns the name of the definition that a reference names.
pub(super) fn definition(reference: &str) -> Option<String> {
    let name = decoded(reference.strip_prefix("#/$defs/")?)?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_names_a_part_however_it_is_encoded() {
        let root = json!({"$defs": {"a b": 1, "x/y": 2, "ü": 3}});
        let found = |reference| resolve(&root, reference).and_then(Value::as_u64);
        assert_eq!(found("#/$defs/a%20b"), Some(1));
        assert_eq!(found("#/$defs/x~1y"), Some(2));
        assert_eq!((found("#/$defs/%C3%BC"), found("#/$defs/ü")), (Some(3), Some(3)));
        assert_eq!(resolve(&root, "#"), Some(&root));
        for nothing in ["", "#/$defs/c", "#/$defs/%", "#/$defs/%f", "#/$defs/%ff", "http://a/#/$defs/ü", "#a"] {
            assert_eq!(resolve(&root, nothing), None, "{nothing}");
        }
    }
}
