//! Random workflows under random commands, through the engine and the store in memory: the rules of a run hold
//! in every order of events.
//!
//! A failure names its seed;
//! `RUN_MODEL_SEED=<seed> cargo nextest run -p squidmesh-core --test run_model one_seed` repeats it.
#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests"
)]

mod check;
mod declare;
mod model;
mod next_actions;
mod rng;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use squidmesh_core::definition::Definition;

use crate::rng::Rng;
use crate::tally::Tally;

/// The number of seeds that share a workflow.
const RUNS_PER_WORKFLOW: u64 = 40;

fn definition(seed: u64) -> Arc<Definition> {
    declare::workflow(&mut Rng::new(seed / RUNS_PER_WORKFLOW))
}

/// Drives the runs of `count` seeds, from `first` on.
fn drive_all(first: u64, count: u64) {
    let mut tally = Tally::default();
    let mut declared = None;
    for seed in first..first + count {
        let definition = match &declared {
            Some((workflow, definition)) if *workflow == seed / RUNS_PER_WORKFLOW => Arc::clone(definition),
            _ => definition(seed),
        };
        declared = Some((seed / RUNS_PER_WORKFLOW, definition.clone()));
        let driven = catch_unwind(AssertUnwindSafe(|| model::drive(definition, seed, &mut tally)));
        if let Err(panic) = driven {
            #[allow(clippy::print_stderr, reason = "the seed is what a developer needs")]
            {
                eprintln!("the run of seed {seed} broke a rule: RUN_MODEL_SEED={seed}");
            }
            resume_unwind(panic);
        }
    }
    tally.check();
}

macro_rules! run_models {
    ($($name:ident: $part:literal;)+) => {
        $(#[test]
        fn $name() {
            drive_all($part * 12_520, 12_520);
        })+
    };
}

// Split into parts that run in parallel: a hundred thousand runs in all.
run_models! {
    the_rules_of_a_run_always_hold_0: 0;
    the_rules_of_a_run_always_hold_1: 1;
    the_rules_of_a_run_always_hold_2: 2;
    the_rules_of_a_run_always_hold_3: 3;
    the_rules_of_a_run_always_hold_4: 4;
    the_rules_of_a_run_always_hold_5: 5;
    the_rules_of_a_run_always_hold_6: 6;
    the_rules_of_a_run_always_hold_7: 7;
}

#[test]
fn one_seed() {
    let seed = std::env::var("RUN_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    model::drive(definition(seed), seed, &mut Tally::default());
}
