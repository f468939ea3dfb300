//! Schemas and payloads that take more than linear work without a bound, and comparisons with another
//! implementation.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::compile::compile;
use super::*;

/// Generous for a build without optimisation on a busy machine; exponential work takes hours.
const BOUND: Duration = Duration::from_secs(5);

fn resolve(schema: &PayloadSchema, payload: Value) -> Result<Value, PayloadErrors> {
    let Value::Object(payload) = payload else { panic!("an object") };
    schema.resolve(payload, &JsonLimits::default()).map(Value::Object)
}

#[track_caller]
fn soon<T>(work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    done
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Tagged {
    And { left: Box<Tagged>, right: Box<Tagged> },
    Or { left: Box<Tagged>, right: Box<Tagged> },
    Xor { left: Box<Tagged>, right: Box<Tagged> },
    Not { left: Box<Tagged> },
    Is { field: String },
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum External {
    And(Box<External>, Box<External>),
    Or { left: Box<External>, right: Option<Box<External>> },
    Not(Box<External>),
    Yes,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    All(Vec<Adjacent>),
    Any(Vec<Adjacent>),
    Leaf(u8),
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
struct Rule<T> {
    rule: T,
}

fn rule<T: JsonSchema>() -> PayloadSchema {
    PayloadSchema::of::<Rule<T>>()
}

fn nested(depth: usize, leaf: Value, wrap: impl Fn(Value) -> Value) -> Value {
    json!({ "rule": (0..depth).fold(leaf, |inner, _| wrap(inner)) })
}

#[test]
fn a_deep_value_of_a_tagged_enum_is_refused_at_once() {
    let wrap = |inner: Value| json!({"op": "and", "left": inner, "right": {"op": "is", "field": "a"}});
    let good = nested(58, json!({"op": "is", "field": "a"}), wrap);
    assert_eq!(soon(|| resolve(&rule::<Tagged>(), good.clone())), Ok(good));
    let errors = soon(|| resolve(&rule::<Tagged>(), nested(18, json!({"op": "is"}), wrap)).unwrap_err());
    assert!(errors.to_string().ends_with("left.field is missing"), "{errors}");
    let errors = soon(|| resolve(&rule::<Tagged>(), nested(58, json!({"op": "nand"}), wrap)).unwrap_err());
    assert!(errors.to_string().contains("fits none of the allowed forms"), "{errors}");
}

#[test]
fn a_deep_value_of_any_sort_of_enum_is_judged_at_once() {
    let refused = |schema: PayloadSchema, payload: Value| {
        let errors = soon(|| resolve(&schema, payload).unwrap_err());
        assert!(errors.len() <= 101 && errors.to_string().len() < 40_000, "{errors}");
    };
    refused(rule::<External>(), nested(28, json!("no"), |inner| json!({"And": [inner, "Yes"]})));
    refused(rule::<External>(), nested(28, json!("no"), |inner| json!({"Or": {"left": "Yes", "right": inner}})));
    refused(rule::<Adjacent>(), nested(28, json!({"t": "Leaf", "c": -1}), |inner| json!({"t": "All", "c": [inner]})));
    refused(rule::<Untagged>(), nested(58, json!("no"), |inner| json!({"left": inner, "right": 1})));
    refused(rule::<Untagged>(), nested(58, json!("no"), |inner| json!([inner, 1])));
    // Each value fits two forms, and both visit the values within.
    let good = nested(58, json!(1), |inner| json!({"left": inner}));
    assert_eq!(soon(|| resolve(&rule::<Untagged>(), good.clone())), Ok(good));
}

#[test]
fn a_wide_and_deep_value_is_judged_in_time_linear_in_it() {
    let leaf = json!({"op": "is", "field": "a"});
    let tree = (0..13).fold(leaf, |inner, _| json!({"op": "or", "left": inner, "right": inner}));
    let good = json!({ "rule": tree });
    assert_eq!(soon(|| resolve(&rule::<Tagged>(), good.clone())), Ok(good));
}

fn judged(schema: Value, payload: Value) -> Result<Value, PayloadErrors> {
    let schema: PayloadSchema = serde_json::from_value(schema).unwrap();
    soon(|| resolve(&schema, payload))
}

#[test]
fn every_level_that_is_described_twice_is_judged_once() {
    let both = json!({"$ref": "#/$defs/a"});
    for combination in ["allOf", "anyOf", "oneOf"] {
        let schema = json!({
            "$ref": "#/$defs/a",
            "$defs": {
                "a": { "type": "object", "properties": { "c": { combination: [both, {"$ref": "#/$defs/b"}] } } },
                "b": { "type": "object", "properties": { "c": { combination: [{"$ref": "#/$defs/b"}, both] } } },
            },
        });
        let deep = (0..60).fold(json!(1), |inner, _| json!({ "c": inner }));
        let errors = judged(schema, deep).unwrap_err();
        assert!(errors.len() <= 101, "{errors}");
    }
}

#[test]
fn unevaluated_fields_at_every_level_are_looked_for_once() {
    let level = json!({
        "anyOf": [{"properties": {"c": {"$ref": "#/$defs/a"}}}, {"properties": {"c": {"$ref": "#/$defs/a"}, "d": true}}],
        "unevaluatedProperties": false,
    });
    let schema = json!({ "type": "object", "$ref": "#/$defs/a", "$defs": { "a": level } });
    let deep = |leaf: Value| (0..60).fold(leaf, |inner, _| json!({ "c": inner, "d": 1 }));
    assert!(judged(schema.clone(), deep(json!({}))).is_ok());
    let errors = judged(schema, deep(json!({"e": 1}))).unwrap_err();
    assert!(!errors.to_string().is_empty());
}

#[test]
fn huge_enums_cost_no_more_than_small_ones() {
    let words: Vec<String> = (0..20_000).map(|number| format!("word {number}")).collect();
    let list: Vec<&String> = words.iter().rev().collect();
    let in_one = json!({"enum": words});
    let as_forms =
        json!({"oneOf": words.iter().map(|word| json!({"type": "string", "const": word})).collect::<Vec<_>>()});
    let as_tags: Vec<Value> = words
        .iter()
        .map(|word| json!({"type": "object", "required": ["tag"], "properties": {"tag": {"const": word}}}))
        .collect();
    for words in [in_one, as_forms] {
        let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": words}}});
        assert!(judged(schema.clone(), json!({ "list": list })).is_ok());
        assert!(judged(schema, json!({ "list": vec!["none of them"; 20_000] })).unwrap_err().len() <= 101);
    }
    let tagged: Vec<Value> = list.iter().map(|word| json!({ "tag": word })).collect();
    let schema = json!({"type": "object", "properties": {"list": {"items": {"oneOf": as_tags}}}});
    assert!(judged(schema, json!({ "list": tagged })).is_ok());
}

#[test]
fn a_list_of_unique_elements_is_gone_through_once() {
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "uniqueItems": true}}});
    let list: Vec<Value> = (0..100_000).map(|number| json!(number)).collect();
    assert!(judged(schema.clone(), json!({ "list": list })).is_ok());
    let twice = json!({"list": [[1, {"a": 2.0}], [1.0, {"a": 2}]]});
    assert_eq!(
        judged(schema, twice).unwrap_err().to_string(),
        "the payload does not fit: list must not have an element twice"
    );
}

#[test]
fn a_hostile_pattern_is_matched_in_bounded_work_or_refused() {
    let of = |pattern: &str| json!({"type": "object", "properties": {"text": {"type": "string", "pattern": pattern}}});
    for pattern in ["^(a+)+$", "^(a|aa)+$", "(x+x+)+y", "^[ab]*a[ab]{12}$", "^(a?){30}a{30}$"] {
        assert!(judged(of(pattern), json!({"text": format!("{}!", "a".repeat(900_000))})).is_err(), "{pattern}");
    }
    for pattern in ["((a{100}){100}){100}", "(?=a)b", "(a)\\1", "(", &"a".repeat(10_000)] {
        assert!(soon(|| compile(&of(pattern)).unwrap_err()).len() < 600, "{pattern}");
    }
}

#[test]
fn schemas_that_go_in_circles_or_too_far_are_refused() {
    let chain = |length: usize| {
        let links = (0..length).map(|at| (format!("{at}"), json!({"$ref": format!("#/$defs/{}", at + 1)})));
        let definitions: Map<String, Value> = links.chain([(length.to_string(), json!({}))]).collect();
        json!({"$ref": "#/$defs/0", "$defs": definitions})
    };
    assert!(compile(&chain(40)).is_ok());
    assert!(soon(|| compile(&chain(10_000)).unwrap_err()).contains("refers through more than 64 others"));
    for circle in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"oneOf": [{"not": {"$ref": "#"}}]}}}),
        json!({"if": {"$ref": "#"}}),
        json!({"dependentSchemas": {"a": {"$ref": "#"}}}),
    ] {
        assert!(compile(&circle).unwrap_err().contains("refers to itself without going into"), "{circle}");
    }
    assert!(compile(&json!({"properties": {"a": {"$ref": "#"}}, "items": {"$ref": "#"}})).is_ok());
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_place() {
    let message = |schema: Value| compile(&schema).unwrap_err();
    assert_eq!(
        message(json!({"properties": {"a": {"items": [1]}}})),
        "a schema is an object or a boolean (in the schema at #/properties/a/items)"
    );
    assert!(
        message(json!({"unevaluatedItems": false}))
            .starts_with("unevaluatedItems is a keyword that payload schemas cannot")
    );
    assert!(message(json!({"type": "text"})).starts_with("type names something else than null, boolean"));
    assert!(message(json!({"$ref": "http://127.0.0.1:1/x"})).starts_with("$ref is not a part of this schema"));
    assert!(message(json!({"minLength": -1})).starts_with("minLength is not a number of things"));
    let long = json!({"properties": {"k".repeat(100_000): {"type": "v".repeat(100_000)}}});
    assert!(message(long).len() < 600);
}

#[test]
fn work_without_bound_is_refused_and_named_as_that() {
    // Two thousand rules for each of ten thousand elements, and an index can skip none of them.
    let rules: Vec<Value> = (0..2_000).map(|most| json!({"maxLength": 10_000 + most})).collect();
    let schema = json!({"type": "object", "properties": {"list": {"items": {"allOf": rules}}}});
    let errors = judged(schema, json!({ "list": vec!["a"; 10_000] })).unwrap_err();
    assert!(errors.to_string().contains("takes more work to check"), "{errors}");
}

#[test]
fn the_deepest_evaluation_fits_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let judge = || {
        // The longest path at each of the deepest levels.
        let mut definitions: Map<String, Value> = (0..40)
            .map(|at| (at.to_string(), json!({"allOf": [{"anyOf": [{"$ref": format!("#/$defs/{}", at + 1)}]}]})))
            .collect();
        definitions.retain(|at, _| at.parse::<u32>().unwrap() < 20);
        definitions.insert("20".to_owned(), json!({"properties": {"c": {"$ref": "#/$defs/0"}}}));
        let schema: PayloadSchema =
            serde_json::from_value(json!({"type": "object", "$ref": "#/$defs/0", "$defs": definitions})).unwrap();
        let deep = (0..62).fold(json!({}), |inner, _| json!({ "c": inner }));
        resolve(&schema, deep).map(|_| ()).map_err(|errors| errors.to_string())
    };
    let message = small.spawn(judge).unwrap().join().unwrap();
    assert!(message.is_err_and(|message| message.contains("takes more work")));
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"])
            .prop_map(|kind| json!({ "type": kind })),
        Just(json!({"type": ["integer", "null"]})),
        (-3_i64..4).prop_map(|limit| json!({ "minimum": limit })),
        (-3_i64..4).prop_map(|limit| json!({ "exclusiveMaximum": f64::from(i32::try_from(limit).unwrap()) + 0.5 })),
        Just(json!({"multipleOf": 2})),
        (0_u8..3).prop_map(|limit| json!({ "minLength": limit, "maxItems": limit })),
        Just(json!({"pattern": "^a"})),
        Just(json!({"enum": ["a", 1, null, [1], {"a": 1}]})),
        Just(json!({"const": 1.0})),
        Just(json!({"required": ["a"]})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"maxProperties": 1})),
        Just(json!({"$ref": "#/$defs/deep"})),
        Just(json!({"dependentRequired": {"a": ["b"]}})),
        Just(json!({"propertyNames": {"pattern": "^[ab]"}})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..6);
        prop_oneof![
            several.clone().prop_map(|all| json!({ "allOf": all })),
            several.clone().prop_map(|any| json!({ "anyOf": any })),
            several.clone().prop_map(|one| json!({ "oneOf": one })),
            inner.clone().prop_map(|not| json!({ "not": not })),
            inner.clone().prop_map(|items| json!({ "items": items })),
            (inner.clone(), inner.clone()).prop_map(|(first, rest)| json!({ "prefixItems": [first], "items": rest })),
            inner.clone().prop_map(|item| json!({ "contains": item })),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "properties": { "a": a, "b": b } })),
            (inner.clone(), inner.clone())
                .prop_map(|(a, rest)| json!({ "properties": { "a": a }, "additionalProperties": rest })),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, beside, rest)| json!({
                "properties": { "a": a }, "anyOf": [beside, {"properties": {"b": true}, "required": ["b"]}],
                "unevaluatedProperties": rest,
            })),
            (inner.clone(), inner.clone()).prop_map(
                |(a, b)| json!({ "patternProperties": { "^a": a, "b$": b }, "unevaluatedProperties": false })
            ),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(holds, then, otherwise)| json!({ "if": holds, "then": then, "else": otherwise })),
            inner.clone().prop_map(|also| json!({ "dependentSchemas": { "a": also }, "unevaluatedProperties": false })),
            (inner.clone(), prop::sample::select(vec!["a", "b", "c"])).prop_map(|(inner, tag)| json!({ "oneOf": [
                {"type": "object", "required": ["t"], "properties": {"t": {"const": tag}, "a": inner}},
                {"type": "object", "required": ["t"], "properties": {"t": {"const": "b"}, "b": true}},
                {"type": "object", "required": ["u"], "properties": {"u": {"enum": ["a", "c"]}}},
                {"type": "object", "required": ["a"], "properties": {"a": inner}},
                {"type": "string", "enum": ["a"]},
                {"type": "string"},
                {"type": "array", "items": inner},
            ]})),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-4_i64..5).prop_map(Value::from),
        Just(json!(1.0)),
        Just(json!(0.5)),
        prop::sample::select(vec!["", "a", "ab", "b", "c"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(vec!["a", "b", "c", "t", "u"]), inner), 0..4).prop_map(
                |members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Compares with the library that was used before: its verdicts are right, and only its running time is not.
    #[test]
    fn verdicts_are_those_of_another_implementation(mut schema in any_schema(), values in prop::collection::vec(any_value(), 8)) {
        let deep = json!({"type": ["object", "null", "integer"], "properties": {"a": {"$ref": "#/$defs/deep"}, "b": {"$ref": "#"}}});
        if let Value::Object(keywords) = &mut schema {
            keywords.insert("$defs".to_owned(), json!({ "deep": deep }));
        }
        let nodes = compile(&schema).unwrap();
        let other = jsonschema::draft202012::new(&schema).unwrap();
        for value in values {
            let fits = Evaluation::new(&nodes, 100).fits(0, &value).unwrap();
            prop_assert_eq!(fits, other.is_valid(&value), "{} against {}", value, schema);
            if !fits {
                let problems = explain(&nodes, &value, 100).unwrap();
                prop_assert!(!problems.is_empty());
                let message = problems.or(()).unwrap_err().to_string();
                prop_assert!(!message.contains("does not fit its type"), "{}: {} against {}", message, value, schema);
            }
        }
    }
}
