//! Generated definitions can be large; building them must become neither slow nor deep.

use std::time::{Duration, Instant};

use squidmesh_core::definition::{Definition, DefinitionError};
use squidmesh_core::{COMPLETE, Trigger, Workflow};

use crate::declared::step;

const STEPS: usize = 10_000;

/// Generous for a build without optimisation on a busy machine; anything quadratic in the number of steps takes
/// minutes.
const BOUND: Duration = Duration::from_secs(5);

fn name(place: usize) -> String {
    format!("step {place}")
}

#[test]
fn a_hundred_thousand_dependencies_build_quickly() {
    let mut builder = Workflow::builder("large").trigger(Trigger::manual("start"));
    for place in 0..STEPS {
        let after: Vec<_> = (1..=10).filter_map(|back| place.checked_sub(back * back)).map(name).collect();
        let step = step(&name(place));
        builder = builder.step(if after.is_empty() { step } else { step.after(after) });
    }
    let began = Instant::now();
    let workflow = builder.build().unwrap();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());

    let definition = workflow.definition();
    let edges: usize = definition.steps().iter().map(|step| step.after.len()).sum();
    assert!(edges > 99_000, "{edges}");
    assert_eq!(definition.ancestors(&name(STEPS - 1)).len(), STEPS - 1);

    let stored = serde_json::to_string(definition.as_ref()).unwrap();
    let began = Instant::now();
    let read: Definition = serde_json::from_str(&stored).unwrap();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(read.fingerprint(), definition.fingerprint());
}

#[test]
fn a_chain_of_ten_thousand_transitions_builds_quickly() {
    let mut builder = Workflow::builder("long").trigger(Trigger::manual("start"));
    for place in 0..STEPS {
        builder = builder.step(step(&name(place)));
        builder = match place + 1 {
            STEPS => builder.then(name(place), COMPLETE),
            next => builder.then(name(place), name(next)).on_error(name(place), name((place + 97).min(STEPS - 1))),
        };
    }
    let began = Instant::now();
    let workflow = builder.build().unwrap();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(workflow.definition().entry_steps().len(), 1);
}

#[test]
fn a_circle_of_ten_thousand_steps_is_found_quickly() {
    let mut builder = Workflow::builder("round").trigger(Trigger::manual("start"));
    for place in 0..STEPS {
        builder = builder.step(step(&name(place)).after([name((place + 1) % STEPS)]));
    }
    let began = Instant::now();
    let errors = builder.build().unwrap_err();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(matches!(errors.iter().next(), Some(DefinitionError::DependencyCycle { steps }) if steps.len() == STEPS));
    assert!(errors.to_string().len() < 1_000, "the message stays readable");
}
