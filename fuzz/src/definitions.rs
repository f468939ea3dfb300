//! Definitions from data are valid, or rejected with reasons; a valid one is unchanged by any number of writes and
//! reads.
//!
//! An input that begins with `{` is a definition as text. Any other input changes a valid definition: some of its
//! parts are replaced by other parts, or by arbitrary data.

use std::collections::HashSet;

use serde_json::Value;
use squidmesh_core::definition::{Definition, Shape, TransitionOutcome};
use squidmesh_core::inspect::graph;
use squidmesh_core::run::{InputSnapshot, RunSnapshot, StepRun};
use squidmesh_core::testing::sample;

use crate::source::Source;

/// Definitions that contain some of everything.
const VALID: [&str; 3] = [
    include_str!("../corpus/definitions/sequence.json"),
    include_str!("../corpus/definitions/fan.json"),
    include_str!("../corpus/definitions/schema.json"),
];

pub fn run(data: &[u8]) {
    if data.first() == Some(&b'{') {
        if let Ok(definition) = serde_json::from_slice::<Definition>(data) {
            hold(&definition);
        }
        return;
    }
    let mut source = Source::new(data);
    let mut changed: Value = serde_json::from_str(source.of(&VALID)).expect("valid JSON");
    for _ in 0..source.below(6) {
        change(&mut changed, &mut source);
    }
    match serde_json::from_value::<Definition>(changed) {
        Ok(definition) => hold(&definition),
        Err(error) => assert!(error.to_string().len() < 20_000, "an error is no copy of its cause"),
    }
}

fn change(value: &mut Value, source: &mut Source<'_>) {
    let places = places(value);
    let place = places[usize::try_from(source.number() % 0xffff).unwrap_or_default() % places.len()].clone();
    let new = match source.below(4) {
        0 => source.json(&["name", "kind", "type", "to", "after", "steps", "ok", "error"], 3),
        1 => source.text().into(),
        2 => source.integer().into(),
        _ => {
            let from = places[usize::from(source.byte()) % places.len()].clone();
            value.pointer(&from).cloned().unwrap_or_default()
        }
    };
    if let Some(found) = value.pointer_mut(&place) {
        *found = new;
    }
}

/// Returns pointers to every part of a value.
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Array(parts) => {
                (0..).zip(parts).for_each(|(place, part): (usize, _)| walk(part, &format!("{at}/{place}"), found));
            }
            Value::Object(parts) => parts.iter().for_each(|(key, part)| {
                walk(part, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// Asserts what is true of every definition.
fn hold(definition: &Definition) {
    let stored = serde_json::to_string(definition).expect("a definition is data");
    let again: Definition = serde_json::from_str(&stored).expect("what was stored reads back");
    assert_eq!(again.fingerprint(), definition.fingerprint());
    assert_eq!(serde_json::to_string(&again).expect("a definition is data"), stored, "and is stored the same again");

    assert!(!definition.steps().is_empty() && !definition.triggers().is_empty());
    let names: HashSet<&str> = definition.steps().iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names.len(), definition.steps().len(), "each step has a name of its own");
    let entries = definition.entry_steps();
    assert!(!entries.is_empty() && (definition.shape() == Shape::Dependencies || entries.len() == 1));
    for step in definition.steps() {
        let name = step.name.as_str();
        assert!(definition.ancestors(name).iter().all(|before| before.name != step.name), "no step waits for itself");
        for before in &step.after {
            assert!(definition.dependents(before.as_str()).iter().any(|after| after.name == step.name));
        }
    }
    for transition in definition.transitions() {
        let from = transition.from.as_str();
        let plain = definition.transition(from, transition.on).into_iter().filter(|found| found.guard.is_none());
        let found = definition.guarded_transitions(from).chain(plain).filter(|found| *found == transition).count();
        assert!(matches!(transition.on, TransitionOutcome::Ok | TransitionOutcome::Error) && found == 1);
    }
    let run = sample::run_of(definition, 1);
    let steps = definition.steps().iter().step_by(2).map(|step| {
        StepRun::pending(step.name.clone(), InputSnapshot::AsOf(0), step.recovery.clone(), sample::STARTED)
    });
    let graph = graph(&RunSnapshot::new(run, steps), definition);
    let ends: HashSet<_> = graph.edges.iter().filter_map(|edge| edge.ends).collect();
    let drawn = graph.nodes.len() + graph.edges.len() + ends.len();
    assert_eq!(graph.to_mermaid().lines().count(), 1 + drawn, "no name breaks out of its line");
    assert_eq!(graph.to_dot().lines().count(), 2 + drawn, "no name breaks out of its line");
}
