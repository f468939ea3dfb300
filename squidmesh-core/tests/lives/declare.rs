//! Workflows by chance: of every kind of step, with every option that matters to the life of a run.

use std::sync::Arc;

use serde_json::Value;
use squidmesh_core::{
    COMPLETE, Compensation, Definition, Retry, Step, StepContext, StepResult, Trigger, Workflow, WorkflowBuilder,
    approval, hours, ms, pause, wait,
};

use crate::dice::Dice;

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn name(place: usize) -> String {
    format!("s{place}")
}

/// A workflow, which is valid however the dice fall.
pub(crate) fn workflow(dice: &mut Dice) -> Arc<Definition> {
    let builder = Workflow::builder("lived").trigger(Trigger::manual("manual"));
    let declared = if dice.one_in(2) { dependencies(builder, dice) } else { transitions(builder, dice) };
    declared.build().expect("a valid workflow").definition().clone()
}

/// A step with a handler.
fn handled(place: usize, dice: &mut Dice) -> Step {
    let attempts = 1 + u32::try_from(dice.below(3)).unwrap();
    let step = Step::new(name(place), nothing).retry(Retry::fixed(attempts, ms(1)));
    match dice.below(9) {
        0 => step.irreversible(),
        1 => step.compensatable(false),
        2..=4 => step.compensate(undo),
        5 => step.compensate(undo).compensation_retry(Retry::fixed(2, ms(5))),
        _ => step,
    }
}

/// Steps that each depend on some of those before them.
fn dependencies(mut builder: WorkflowBuilder, dice: &mut Dice) -> WorkflowBuilder {
    for place in 0..1 + dice.below(6) {
        let step = if dice.one_in(8) { Step::new(name(place), wait(ms(5))) } else { handled(place, dice) };
        let after: Vec<_> = (0..place).filter(|_| dice.one_in(2)).map(name).collect();
        builder = builder.step(if after.is_empty() { step } else { step.after(after) });
    }
    builder
}

/// A chain, with error routes and deadlines that skip steps.
fn transitions(mut builder: WorkflowBuilder, dice: &mut Dice) -> WorkflowBuilder {
    let count = 1 + dice.below(6);
    for place in 0..count {
        let here = name(place);
        // A later step, or the end.
        let later = |dice: &mut Dice| Some(place + 1 + dice.below(count - place)).filter(|to| *to < count).map(name);
        let kind = dice.below(10);
        let step = match kind {
            0 => Step::new(&here, wait(ms(5))),
            1 => Step::new(&here, pause()),
            2 => Step::new(&here, approval()),
            3 => Step::new(&here, approval().deadline(hours(1))),
            4 => match later(dice) {
                Some(to) => Step::new(&here, approval().deadline(hours(1)).then_to(to)),
                None => Step::new(&here, approval().deadline(hours(1)).then_to(COMPLETE)),
            },
            _ => handled(place, dice),
        };
        builder = builder.step(step);
        builder = match place + 1 < count {
            true => builder.then(&here, name(place + 1)),
            false => builder.then(&here, COMPLETE),
        };
        if matches!(kind, 2..=4) || (kind > 4 && dice.one_in(3)) {
            builder = match later(dice) {
                Some(to) => builder.on_error(&here, to),
                None => builder.on_error(&here, COMPLETE),
            };
        }
    }
    builder
}
