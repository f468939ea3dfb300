//! Generated payloads against generated contracts: accepted, and then accepted again unchanged, or rejected
//! without showing their content.

use serde_json::{Map, Value, json};
use squidmesh_core::Timestamp;
use squidmesh_core::definition::{Contract, Definition, JsonLimits};

use crate::recursive;
use crate::source::Source;

const KEYS: [&str; 5] = ["a", "b", "c", "items", "day"];
const KINDS: [&str; 6] = ["string", "integer", "float", "boolean", "map", "list"];
const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "null"];

/// Text that no error may show: it is in payloads only, never in contracts.
const SECRET: &str = "S3CRET";

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let described = match source.below(6) {
        0 => json!("nothing"),
        1 | 2 => json!({ "schema": schema(&mut source, 3) }),
        3 | 4 => json!({ "schema": recursive::schema(&mut source) }),
        _ => json!({ "fields": fields(&mut source) }),
    };
    // Only a definition checks that a contract is valid.
    let defined = json!({
        "name": "made", "triggers": [{ "name": "go", "kind": { "type": "manual" }, "contract": described }],
        "steps": [{ "name": "only", "kind": { "type": "handler" } }],
    });
    let Ok(definition) = serde_json::from_value::<Definition>(defined) else { return };
    let contract = definition.trigger("go").expect("its trigger").contract();
    let written = serde_json::to_value(contract).expect("a contract is data");
    let same: Contract = serde_json::from_value(written).expect("what was written reads back");
    assert_eq!(same, *contract);

    let payload = match source.below(4) {
        0 => source.json(&KEYS, 3),
        1 => Value::Object(source.object(&KEYS, 3)),
        _ => recursive::payload(&mut source),
    };
    let limits = JsonLimits { max_bytes: 1 << 16, ..JsonLimits::default() };
    let today = Timestamp::from_millis(1_767_225_600_000).date();
    match contract.resolve(payload, today, &limits) {
        Ok(resolved) => {
            let resolved = Value::Object(resolved);
            assert_eq!(
                contract.resolve(resolved.clone(), today, &limits).map(Value::Object),
                Ok(resolved),
                "nothing is left to do"
            );
        }
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "a refusal has a reason");
            let said = errors.to_string();
            assert!(!said.is_empty() && said.len() < 20_000, "an error is no copy of its cause");
            assert!(!said.contains(&format!("\"{SECRET}\"")), "{said}");
        }
    }
}

fn fields(source: &mut Source<'_>) -> Value {
    (0..source.below(5))
        .map(|place| {
            let mut field = json!({ "name": KEYS[place], "kind": source.of(&KINDS) });
            let presence = match source.below(4) {
                0 => return field,
                1 => json!("optional"),
                2 => json!("today"),
                _ => json!({ "default": source.json(&KEYS, 2) }),
            };
            field["presence"] = presence;
            field
        })
        .collect()
}

/// Returns a schema of the form that types have, sometimes of another one.
fn schema(source: &mut Source<'_>, depth: usize) -> Value {
    if depth == 0 || source.byte() > 250 {
        return source.json(&["type", "enum", "minimum"], 1);
    }
    let mut schema = Map::new();
    if source.byte() > 20 {
        schema.insert("type".to_owned(), source.of(&TYPES).into());
    }
    for _ in 0..source.below(4) {
        let several = |source: &mut Source<'_>| (0..source.below(5)).map(|_| self::schema(source, depth - 1)).collect();
        let (name, value) = match source.below(24) {
            0 | 1 => ("properties", properties(source, depth)),
            2 => ("required", source.of(&[json!(["a"]), json!(["a", "b"]), json!([])])),
            3 => ("additionalProperties", source.chance().into()),
            4 => ("items", self::schema(source, depth - 1)),
            5 => ("minimum", source.integer().into()),
            6 => ("maxLength", source.byte().into()),
            7 => ("enum", (0..source.below(3)).map(|_| source.json(&KEYS, 1)).collect()),
            8 => ("anyOf", several(source)),
            13 => ("oneOf", several(source)),
            14 => ("allOf", several(source)),
            15 => ("prefixItems", several(source)),
            16 => (
                source.of(&["not", "if", "then", "else", "contains", "propertyNames"]),
                self::schema(source, depth - 1),
            ),
            17 => ("patternProperties", json!({ source.of(&["^a", "[bc]$", "."]): self::schema(source, depth - 1) })),
            18 => ("unevaluatedProperties", self::schema(source, 0)),
            19 => ("uniqueItems", source.chance().into()),
            20 => ("const", source.json(&KEYS, 1)),
            21 => ("dependentSchemas", json!({ source.of(&KEYS): self::schema(source, depth - 1) })),
            22 => ("multipleOf", source.byte().into()),
            9 => ("default", source.json(&KEYS, 2)),
            10 => ("pattern", source.of(&["^a*$", "(", "[0-9]{1,3}", "\\p{L}+", "(?=a)"]).into()),
            11 => ("format", source.of(&["date", "date-time", "uuid", "email", "int64", "odd"]).into()),
            12 => (
                "$ref",
                source.of(&["#/$defs/a", "#/$defs/b", "#", "http://127.0.0.1:1/x.json", "#/$defs/none"]).into(),
            ),
            _ => ("$defs", properties(source, depth)),
        };
        schema.insert(name.to_owned(), value);
    }
    Value::Object(schema)
}

fn properties(source: &mut Source<'_>, depth: usize) -> Value {
    let described: Map<String, Value> =
        (0..source.below(4)).map(|_| (source.of(&KEYS).to_owned(), schema(source, depth - 1))).collect();
    Value::Object(described)
}
