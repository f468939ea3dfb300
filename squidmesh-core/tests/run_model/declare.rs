//! Random workflows: every kind of step, with every option that matters to a run.

use std::sync::Arc;

use serde_json::Value;
use squidmesh_core::definition::Definition;
use squidmesh_core::workflow::{Compensation, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, Field, Retry, Signal, Step, StepContext, StepResult, Trigger, Workflow, approval, hours, ms, pause, wait,
    wait_for,
};

use crate::rng::Rng;

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

/// The signals that every workflow declares; steps may wait for the first.
pub(crate) const SIGNALS: [&str; 2] = ["proceed", "note"];

fn name(place: usize) -> String {
    format!("s{place}")
}

/// Returns a random workflow, which is always valid.
pub(crate) fn workflow(rng: &mut Rng) -> Arc<Definition> {
    let builder = Workflow::builder("modelled").trigger(Trigger::manual("manual"));
    let signals = SIGNALS.map(|name| Signal::new(name).field(Field::integer("n")));
    let builder = signals.into_iter().fold(builder, WorkflowBuilder::signal);
    let declared = if rng.one_in(2) { dependencies(builder, rng) } else { transitions(builder, rng) };
    declared.build().expect("a valid workflow").definition().clone()
}

/// Returns a step with a handler.
fn handled(place: usize, rng: &mut Rng) -> Step {
    let attempts = 1 + u32::try_from(rng.below(3)).unwrap();
    let step = Step::new(name(place), nothing).retry(Retry::fixed(attempts, ms(1)));
    match rng.below(9) {
        0 => step.irreversible(),
        1 => step.compensatable(false),
        2..=4 => step.compensate(undo),
        5 => step.compensate(undo).compensation_retry(Retry::fixed(2, ms(5))),
        _ => step,
    }
}

/// Adds steps that each depend on some of those before them.
fn dependencies(mut builder: WorkflowBuilder, rng: &mut Rng) -> WorkflowBuilder {
    let count = 1 + rng.below(6);
    let mut connected = false;
    for place in 0..count {
        let step = if rng.one_in(8) { Step::new(name(place), wait(ms(5))) } else { handled(place, rng) };
        let after: Vec<_> = (0..place).filter(|_| rng.one_in(2)).map(name).collect();
        connected |= !after.is_empty();
        builder = builder.step(if after.is_empty() { step } else { step.after(after) });
    }
    if connected || count == 1 { builder } else { builder.parallel() }
}

/// Adds a chain, with error routes and deadlines that skip steps.
fn transitions(mut builder: WorkflowBuilder, rng: &mut Rng) -> WorkflowBuilder {
    let count = 1 + rng.below(6);
    for place in 0..count {
        let here = name(place);
        // Returns a later step, or the end.
        let later = |rng: &mut Rng| Some(place + 1 + rng.below(count - place)).filter(|to| *to < count).map(name);
        let kind = rng.below(13);
        let step = match kind {
            0 => Step::new(&here, wait(ms(5))),
            1 => Step::new(&here, pause()),
            2 => Step::new(&here, approval()),
            3 => Step::new(&here, approval().deadline(hours(1))),
            4 => match later(rng) {
                Some(to) => Step::new(&here, approval().deadline(hours(1)).then_to(to)),
                None => Step::new(&here, approval().deadline(hours(1)).then_to(COMPLETE)),
            },
            10 => Step::new(&here, wait_for(SIGNALS[0])),
            11 => Step::new(&here, wait_for(SIGNALS[0]).deadline(hours(1))).output("signal"),
            12 => match later(rng) {
                Some(to) => Step::new(&here, wait_for(SIGNALS[0]).deadline(hours(1)).then_to(to)),
                None => Step::new(&here, wait_for(SIGNALS[0]).deadline(hours(1)).then_to(COMPLETE)),
            },
            _ => handled(place, rng),
        };
        builder = builder.step(step);
        builder = match place + 1 < count {
            true => builder.then(&here, name(place + 1)),
            false => builder.then(&here, COMPLETE),
        };
        if matches!(kind, 2..=4) || (kind > 4 && rng.one_in(3)) {
            builder = match later(rng) {
                Some(to) => builder.on_error(&here, to),
                None => builder.on_error(&here, COMPLETE),
            };
        }
    }
    builder
}
