//! Payload contracts: which payloads are accepted and completed, and which errors the others return.

use std::collections::HashMap;

use jiff::civil::{Date, date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use squidmesh_core::definition::{Contract, Definition, JsonLimits, PayloadErrors};
use squidmesh_core::{Field, Trigger};

use crate::declared::{step, triggered};

const TODAY: Date = date(2026, 3, 1);
const LIMITS: JsonLimits = JsonLimits { max_bytes: 1 << 20, max_depth: 100 };

fn resolve(trigger: Trigger, payload: Value) -> Result<Map<String, Value>, PayloadErrors> {
    let workflow = triggered().trigger(trigger).step(step("a")).build().unwrap();
    let resolved = workflow.definition().triggers()[1].contract().resolve(payload.clone(), TODAY, &LIMITS);
    // A stored definition answers the same.
    let stored = serde_json::to_string(workflow.definition().as_ref()).unwrap();
    let read: Definition = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.triggers()[1].contract().resolve(payload, TODAY, &LIMITS), resolved);
    resolved
}

#[track_caller]
fn accepted(trigger: Trigger, payload: Value) -> Value {
    Value::Object(resolve(trigger, payload).unwrap())
}

#[track_caller]
fn refused(trigger: Trigger, payload: Value) -> Vec<String> {
    let mut errors: Vec<_> = resolve(trigger, payload).unwrap_err().iter().map(ToString::to_string).collect();
    errors.sort_unstable();
    errors
}

fn fields() -> Trigger {
    Trigger::manual("t")
        .field(Field::string("name"))
        .field(Field::integer("count").default(1))
        .field(Field::float("rate").optional())
        .field(Field::boolean("urgent").default(false))
        .field(Field::map("extra").optional())
        .field(Field::list("tags").default(["a"]))
        .field(Field::string("day").default_today())
}

#[test]
fn fields_are_completed_with_their_defaults() {
    assert_eq!(
        accepted(fields(), json!({"name": "x"})),
        json!({"name": "x", "count": 1, "urgent": false, "tags": ["a"], "day": "2026-03-01"})
    );
}

#[test]
fn given_fields_are_kept() {
    let payload =
        json!({"name": "x", "count": -5, "rate": 2, "urgent": true, "extra": {"k": [null]}, "tags": [], "day": "then"});
    assert_eq!(accepted(fields(), payload.clone()), payload);
}

#[test]
fn null_stands_for_nothing_where_nothing_is_allowed() {
    assert_eq!(accepted(Trigger::manual("t"), json!(null)), json!({}));
    assert_eq!(accepted(Trigger::manual("t").field(Field::float("rate").optional()), json!({"rate": null})), json!({}));
    assert_eq!(refused(fields(), json!({"name": null})), ["name must be a string, not null"]);
}

#[test]
fn all_errors_of_fields_are_reported_without_values() {
    let errors = refused(
        fields(),
        json!({"count": 1.5, "rate": "4111-1111", "urgent": 1, "extra": [], "tags": {}, "day": 4111, "card": "4111-1111"}),
    );
    assert_eq!(
        errors,
        [
            "card is not a field of this payload",
            "count must be an integer, not a number",
            "day must be a string, not an integer",
            "extra must be an object, not a list",
            "name is missing",
            "rate must be a number, not a string",
            "tags must be a list, not an object",
            "urgent must be a boolean, not an integer",
        ]
    );
}

#[test]
fn without_a_declared_payload_there_are_no_fields() {
    assert_eq!(accepted(Trigger::manual("t"), json!({})), json!({}));
    assert_eq!(refused(Trigger::manual("t"), json!({"a": 1})), ["a is not a field of this payload"]);
}

#[test]
fn a_payload_is_an_object() {
    assert_eq!(refused(fields(), json!([1])), ["the payload must be an object, not a list"]);
    assert_eq!(
        refused(Trigger::manual("t").payload::<Order>(), json!("4111")),
        ["the payload must be an object, not a string"]
    );
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Order {
    id: String,
    lines: Vec<Line>,
    gift: Option<Line>,
    #[serde(default = "standard")]
    shipping: Shipping,
    notes: HashMap<String, u8>,
    anything: Value,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Line {
    price: f64,
    #[serde(default)]
    copies: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
enum Shipping {
    Standard,
    Courier { name: String },
}

fn standard() -> Shipping {
    Shipping::Standard
}

fn typed() -> Trigger {
    Trigger::manual("t").payload::<Order>()
}

fn order() -> Value {
    json!({"id": "o-1", "lines": [{"price": 1, "copies": 2}], "gift": {"price": 0.5, "copies": 1},
           "shipping": {"by": "courier", "name": "x"}, "notes": {"k": 1}, "anything": {"at": ["all"]}})
}

#[test]
fn a_typed_payload_is_accepted_as_the_type_writes_it() {
    assert_eq!(accepted(typed(), order()), order());
    let typed_order: Order = serde_json::from_value(order()).unwrap();
    assert!(resolve(typed(), serde_json::to_value(typed_order).unwrap()).is_ok());
}

#[test]
fn a_typed_payload_is_completed_with_the_defaults_of_its_type() {
    let completed = accepted(typed(), json!({"id": "o-1", "lines": [{"price": 1}], "notes": {}, "anything": null}));
    assert_eq!(completed["lines"], json!([{"price": 1, "copies": 0}]));
    assert_eq!(completed["shipping"], json!({"by": "standard"}));
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Parcel {
    #[serde(default)]
    packing: Packing,
}

/// Its `Default` lacks a field, and that has a default of its own.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Packing {
    #[serde(default = "one_box", skip_serializing_if = "Option::is_none")]
    boxes: Option<Vec<Line>>,
}

fn one_box() -> Option<Vec<Line>> {
    Some(vec![Line { price: 2.5, copies: 1 }])
}

#[test]
fn a_default_is_completed_with_the_defaults_of_its_own_type() {
    let parcel = || Trigger::manual("t").payload::<Parcel>();
    let completed = accepted(parcel(), json!({}));
    assert_eq!(completed, json!({"packing": {"boxes": [{"price": 2.5, "copies": 1}]}}));
    assert_eq!(accepted(parcel(), completed.clone()), completed, "nothing is left to do");
}

/// Returns a contract that no type has: each field within a default lacks its own.
fn endless(default: Value) -> Contract {
    let field = json!({"$ref": "#/$defs/again", "default": default});
    let properties = json!({"a": field, "b": field, "c": field});
    let again = json!({"type": "object", "properties": properties});
    serde_json::from_value(json!({"schema": {"$ref": "#/$defs/again", "$defs": {"again": again}}})).unwrap()
}

#[test]
fn defaults_without_end_are_refused() {
    let wide = endless(json!({})).resolve(json!({}), TODAY, &LIMITS).unwrap_err();
    assert!(wide.to_string().contains("larger than the limit of 1048576 bytes"), "{wide}");
    let deep =
        endless(json!({"b": null, "c": null})).resolve(json!({"b": null, "c": null}), TODAY, &LIMITS).unwrap_err();
    assert!(deep.to_string().contains("nested more deeply than 100 levels"), "{deep}");
}

/// A payload of a megabyte that would be ten gigabytes with its defaults.
#[test]
fn defaults_are_counted_before_they_are_added() {
    let large = json!({"default": "x".repeat(40_000)});
    let items = json!({"type": "object", "properties": {"a": large}});
    let schema = json!({"type": "object", "properties": {"all": {"type": "array", "items": items}}});
    let contract: Contract = serde_json::from_value(json!({ "schema": schema })).unwrap();
    let errors = contract.resolve(json!({"all": vec![json!({}); 300_000]}), TODAY, &LIMITS).unwrap_err();
    assert!(errors.to_string().contains("larger than the limit"), "{errors}");
}

#[test]
fn as_many_defaults_as_fit_are_added_to_a_long_list() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Parcels {
        all: Vec<Parcel>,
    }
    let parcels = || Trigger::manual("t").payload::<Parcels>();
    let completed = accepted(parcels(), json!({"all": vec![json!({}); 15_000]}));
    assert_eq!(completed["all"][14_999]["packing"]["boxes"], json!([{"price": 2.5, "copies": 1}]));
    let errors = refused(parcels(), json!({"all": vec![json!({}); 50_000]}));
    assert!(errors[0].contains("larger than the limit"), "{errors:?}");
}

/// Changes one value of a valid order and returns the errors.
#[track_caller]
fn changed(pointer: &str, value: Value) -> Vec<String> {
    let mut order = order();
    match pointer.rsplit_once('/') {
        Some((parent, key)) if order.pointer(pointer).is_none() => {
            order.pointer_mut(parent).unwrap()[key] = value;
        }
        _ => *order.pointer_mut(pointer).unwrap() = value,
    }
    refused(typed(), order)
}

#[test]
fn a_typed_payload_is_checked_by_path_at_every_depth() {
    assert_eq!(changed("/id", json!(4111)), ["id must be a string, not an integer"]);
    assert_eq!(changed("/lines/0/price", json!("4111")), ["lines[0].price must be a number, not a string"]);
    assert_eq!(changed("/lines/0", json!({})), ["lines[0].price is missing"]);
    assert_eq!(changed("/lines/0/copies", json!(4_294_967_296_u64)), ["lines[0].copies must be at most 4294967295"]);
    assert_eq!(changed("/notes/k", json!(-1)), ["notes.k must be at least 0"]);
    assert_eq!(changed("/gift/price", json!("4111")), ["gift.price must be a number, not a string"]);
    assert_eq!(changed("/shipping/by", json!("4111")), ["shipping fits none of the allowed forms"]);
}

#[test]
fn unknown_fields_of_a_typed_payload_are_named_at_every_depth() {
    assert_eq!(changed("/card", json!("4111")), ["card is not a field of this payload"]);
    assert_eq!(changed("/lines/0/card", json!("4111")), ["lines[0].card is not a field of this payload"]);
    assert_eq!(changed("/gift/card", json!("4111")), ["gift.card is not a field of this payload"]);
    assert!(
        resolve(typed(), {
            let mut order = order();
            order["anything"]["card"] = json!(1);
            order
        })
        .is_ok()
    );
}

#[test]
fn everything_wrong_with_a_typed_payload_is_said_together() {
    let errors = refused(
        typed(),
        json!({"lines": [{"price": "4111"}, {"copies": 1}], "notes": {}, "anything": 1, "card": 4111}),
    );
    assert_eq!(
        errors,
        [
            "card is not a field of this payload",
            "id is missing",
            "lines[0].price must be a number, not a string",
            "lines[1].price is missing",
        ]
    );
}

#[test]
fn a_whole_number_is_an_integer_however_it_is_written() {
    let mut payload = order();
    payload["lines"][0]["copies"] = json!(2.0);
    assert_eq!(accepted(typed(), payload)["lines"][0]["copies"], json!(2));
    assert_eq!(changed("/lines/0/copies", json!(2.5)), ["lines[0].copies must be an integer, not a number"]);
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Tree {
    #[serde(default)]
    branches: Vec<Tree>,
}

#[test]
fn a_type_within_itself_is_checked_at_every_depth() {
    let tree = |leaf: Value| (0..40).fold(leaf, |tree, _| json!({"branches": [tree]}));
    let forest = || Trigger::manual("t").payload::<Tree>();
    assert!(resolve(forest(), tree(json!({}))).is_ok());
    let errors = refused(forest(), tree(json!({"card": 4111})));
    assert!(errors.len() == 1 && errors[0].ends_with("is not a field of this payload"), "{errors:?}");
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Appointment {
    #[schemars(extend("format" = "date"))]
    day: String,
}

#[test]
fn a_text_with_a_format_is_checked() {
    let appointment = || Trigger::manual("t").payload::<Appointment>();
    assert!(resolve(appointment(), json!({"day": "2026-03-01"})).is_ok());
    assert_eq!(refused(appointment(), json!({"day": "4111"})), ["day must be written as date"]);
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    line: Line,
    #[serde(flatten)]
    shipping: Shipping,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Open {
    id: u8,
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

#[test]
fn a_flattened_type_knows_the_fields_of_its_parts() {
    let flat = || Trigger::manual("t").payload::<Flat>();
    assert!(resolve(flat(), json!({"id": 1, "price": 1, "copies": 1, "by": "courier", "name": "x"})).is_ok());
    assert_eq!(
        refused(flat(), json!({"id": 1, "price": 1, "by": "standard", "card": 4111})),
        ["card is not a field of this payload"]
    );
    assert_eq!(
        refused(flat(), json!({"id": "x", "price": 1, "by": "standard"})),
        ["id must be an integer, not a string"]
    );
    let open = Trigger::manual("t").payload::<Open>();
    assert_eq!(accepted(open, json!({"id": 1, "card": 4111})), json!({"id": 1, "card": 4111}));
}

#[test]
fn the_answer_to_a_hostile_payload_stays_small() {
    let many: Map<String, Value> = (0..10_000).map(|key| (format!("{key}{}", "k".repeat(500)), json!(1))).collect();
    for trigger in [fields(), typed()] {
        let errors = resolve(trigger, Value::Object(many.clone())).unwrap_err();
        assert!(errors.len() <= 101 && errors.to_string().len() < 20_000, "{}", errors.len());
    }
}

#[test]
fn the_answer_to_long_ways_and_long_names_stays_small() {
    let wide = |name: &str| (0..200).map(|key| (format!("{name}{key}"), json!(1))).collect::<Map<String, Value>>();
    let names = "漢".repeat(59);
    let deep = (0..20).fold(Value::Object(wide(&names)), |inner, _| json!({ "branches": [inner] }));
    let errors = resolve(Trigger::manual("t").payload::<Tree>(), deep).unwrap_err();
    assert!(errors.len() <= 101 && errors.to_string().len() < 20_000, "{} {}", errors.len(), errors.to_string().len());
    assert!(errors.to_string().ends_with("has more errors than are reported here"));
}

#[test]
fn a_hostile_depth_is_refused_before_anything_recurses() {
    let deep = (0..500).fold(json!(0), |value, _| json!([value]));
    for trigger in [fields(), typed(), Trigger::manual("t")] {
        let errors = refused(trigger, json!({"anything": deep.clone()}));
        assert!(errors[0].contains("nested more deeply"), "{errors:?}");
    }
}
