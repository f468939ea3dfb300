//! Definitions are read back from databases that others can write to: no stored content may do harm.

use proptest::prelude::*;
use serde_json::{Value, json};
use squidmesh_core::definition::{Definition, JsonLimits};
use squidmesh_core::{COMPLETE, Field, Step, Trigger, approval, secs, wait};

use crate::declared::{chain, step};

fn stored() -> Value {
    let workflow = chain()
        .trigger(
            Trigger::cron("nightly").expression("0 3 * * *").time_zone("UTC").field(Field::integer("n").default(1)),
        )
        .step(Step::new("ask", approval()))
        .step(Step::new("nap", wait(secs(1))))
        .step(step("c").input_from([("x", "a.b")]))
        .on_error("b", "ask")
        .then("ask", "nap")
        .on_error("ask", "c")
        .then("nap", COMPLETE)
        .then("c", COMPLETE)
        .build()
        .unwrap();
    serde_json::to_value(workflow.definition().as_ref()).unwrap()
}

/// Collects every location in a value, as a JSON pointer.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| places(item, format!("{at}/{place}"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| places(member, format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(a|b|ask|nap|handler|wait|complete|ok|error|\\PC{0,12})".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(
                ("(name|type|kind|steps|triggers|from|to|on|step|schema|fields|after|contract|\\PC{0,6})", inner),
                0..5
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An accepted definition obeys the rules: it can be stored and read back unchanged.
fn check(value: &Value) {
    if let Ok(definition) = serde_json::from_value::<Definition>(value.clone()) {
        let again = serde_json::to_value(&definition).unwrap();
        let read: Definition = serde_json::from_value(again).unwrap();
        assert_eq!(read.fingerprint(), definition.fingerprint());
        for step in definition.steps() {
            assert!(definition.position(step.name.as_str()).is_some());
            definition.ancestors(step.name.as_str());
        }
        let today = jiff::civil::date(2026, 3, 1);
        for trigger in definition.triggers() {
            let _ = trigger.contract().resolve(json!({"n": 1}), today, &JsonLimits::default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(500)))]

    #[test]
    fn no_json_at_all_makes_a_definition_panic(value in any_json()) {
        check(&value);
    }

    #[test]
    fn no_change_of_a_stored_definition_makes_it_panic(
        place in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        replacement in any_json(),
        borrow: bool,
    ) {
        let mut value = stored();
        let mut found = Vec::new();
        places(&value, String::new(), &mut found);
        let replacement = if borrow { value.pointer(other.get::<String>(&found)).unwrap().clone() } else { replacement };
        *value.pointer_mut(place.get::<String>(&found)).unwrap() = replacement;
        check(&value);
    }

    #[test]
    fn no_schema_makes_a_definition_panic(schema in any_json(), keyword in "(type|properties|pattern|\\$ref|items|enum|format|required|anyOf|minimum)") {
        for schema in [schema.clone(), json!({ (keyword): schema })] {
            let mut value = stored();
            value["triggers"][0]["contract"] = json!({"schema": schema});
            check(&value);
        }
    }
}

proptest! {
    #[test]
    fn no_schedule_makes_a_definition_panic(
        expression in prop_oneof!["\\PC{0,30}", "([0-9*/,#LWH?-]{1,6} ){0,6}[A-Z0-9*]{0,4}"],
        time_zone in prop_oneof![Just("UTC".to_owned()), any::<String>()],
    ) {
        let trigger = Trigger::cron("c").expression(expression).time_zone(time_zone);
        if let Ok(workflow) = chain().trigger(trigger).build() {
            check(&serde_json::to_value(workflow.definition().as_ref()).unwrap());
        }
    }

    #[test]
    fn no_names_make_a_builder_panic(names in prop::collection::vec(prop_oneof!["[ab]", any::<String>()], 8)) {
        let [workflow, trigger, one, other, from, to, key, queue] = names.try_into().unwrap();
        let builder = squidmesh_core::Workflow::builder(workflow)
            .trigger(Trigger::manual(trigger).field(Field::string(&key)))
            .step(step(&one).output(&key).input([&key]).input_from([(&key, &to)]).queue(queue))
            .step(step(&other))
            .then(from, &to);
        if let Ok(workflow) = builder.build() {
            check(&serde_json::to_value(workflow.definition().as_ref()).unwrap());
        }
    }
}

#[test]
fn what_this_version_does_not_know_is_refused_and_not_ignored() {
    for place in ["", "/steps/0", "/triggers/0", "/transitions/0"] {
        let mut value = stored();
        value.pointer_mut(place).unwrap()["from_the_future"] = json!(true);
        assert!(serde_json::from_value::<Definition>(value).is_err(), "{place:?}");
    }
}

#[test]
fn a_schema_never_fetches_another() {
    for reference in ["http://127.0.0.1:1/schema", "file:///etc/passwd", "https://example.com/schema"] {
        let mut value = stored();
        value["triggers"][0]["contract"] = json!({"schema": {"$ref": reference}});
        let error = serde_json::from_value::<Definition>(value).unwrap_err().to_string();
        assert!(error.contains("payload schema"), "{error}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_does_no_harm() {
    let mut value = stored();
    value["triggers"][0]["contract"] = json!({"schema": {"$ref": "#"}});
    check(&value);
    value["triggers"][0]["contract"] =
        json!({"schema": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}});
    check(&value);
}
