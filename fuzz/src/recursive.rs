//! Types that contain themselves, in every representation of enums in serde, and payloads of such depth.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squidmesh_core::definition::PayloadSchema;

use crate::source::Source;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Tagged {
    And { left: Box<Tagged>, right: Box<Tagged> },
    Or { left: Box<Tagged>, right: Option<Box<Tagged>> },
    Not { left: Box<Tagged> },
    All { items: Vec<Tagged> },
    Is { a: String },
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum External {
    And(Box<External>, Box<External>),
    Or { left: Box<External>, right: Box<External> },
    Not(Box<External>),
    Yes,
    No,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Untagged {
    Pair { left: Box<Untagged>, right: Box<Untagged> },
    Left { left: Box<Untagged> },
    List(Vec<Untagged>),
    Leaf(u8),
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Node {
    #[serde(default)]
    items: Vec<Node>,
    left: Option<Box<Node>>,
    #[serde(flatten)]
    op: Tagged,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Rule<T> {
    a: T,
    #[serde(default)]
    b: Option<T>,
}

static SCHEMAS: LazyLock<[Value; 4]> = LazyLock::new(|| {
    [
        PayloadSchema::of::<Rule<Tagged>>().as_json().clone(),
        PayloadSchema::of::<Rule<External>>().as_json().clone(),
        PayloadSchema::of::<Rule<Untagged>>().as_json().clone(),
        PayloadSchema::of::<Rule<Node>>().as_json().clone(),
    ]
});

/// Returns the schema of such a type.
pub(crate) fn schema(source: &mut Source<'_>) -> Value {
    source.of(&*SCHEMAS)
}

/// Returns a payload of up to the maximum depth.
pub(crate) fn payload(source: &mut Source<'_>) -> Value {
    let leaves =
        [json!(1), json!("Yes"), json!("no"), json!({"op": "is", "a": "x"}), json!({"op": "is"}), json!({}), json!([])];
    let depth = source.below(62);
    let ways: [u8; 3] = std::array::from_fn(|_| source.byte());
    let mut value = source.of(&leaves);
    for level in 0..depth {
        // A few variants in turn: more would leave no bytes for the rest.
        let beside = leaves.get(usize::from(ways[level % 3]) / 16 % leaves.len()).cloned().unwrap_or_default();
        value = match ways[level % 3] % 10 {
            0 => json!({"op": "and", "left": value, "right": beside}),
            1 => json!({"op": "or", "left": value, "right": null}),
            2 => json!({"op": "not", "left": value}),
            3 => json!({"op": "all", "items": [beside, value]}),
            4 => json!({"And": [value, beside]}),
            5 => json!({"Not": value}),
            6 => json!({"left": value, "right": beside}),
            7 => json!({"left": value}),
            8 => json!({"a": value, "b": beside, "c": [value.is_object()]}),
            _ => json!([value, beside]),
        };
    }
    json!({"a": value, "b": source.maybe(|source| source.of(&leaves))})
}
