//! Random workflows under random commands, through the engine and the store in memory: whatever happens, in whatever order, the
//! rules of a run's life hold.
//!
//! A failure names its seed; `LIFE=<seed> cargo nextest run -p squidmesh-core --test lives one_life` lives that life again.
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
mod dice;
mod life;
mod offers;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use squidmesh_core::Definition;

use crate::dice::Dice;

/// How many lives one workflow has to go through.
const LIVES: u64 = 40;

/// What the lives of a test came to, so that a test which tests nothing is noticed.
#[derive(Debug, Default)]
struct Tally {
    completed: usize,
    failed: usize,
    cancelled: usize,
    resumed: usize,
    replayed: usize,
    expired: usize,
    compensated: usize,
    fenced: usize,
    conflicts: usize,
}

fn definition(seed: u64) -> Arc<Definition> {
    declare::workflow(&mut Dice::new(seed / LIVES))
}

/// So many lives, from this seed on.
fn lives(first: u64, count: u64) {
    let mut tally = Tally::default();
    let mut declared = None;
    for seed in first..first + count {
        let definition = match &declared {
            Some((workflow, definition)) if *workflow == seed / LIVES => Arc::clone(definition),
            _ => definition(seed),
        };
        declared = Some((seed / LIVES, definition.clone()));
        let lived = catch_unwind(AssertUnwindSafe(|| life::live(definition, seed, &mut tally)));
        if let Err(panic) = lived {
            #[allow(clippy::print_stderr, reason = "the seed is what a developer needs")]
            {
                eprintln!("the life of seed {seed} broke a rule: LIFE={seed}");
            }
            resume_unwind(panic);
        }
    }
    let Tally { completed, failed, cancelled, resumed, replayed, expired, compensated, fenced, conflicts } = tally;
    for (what, number) in [
        ("completed", completed),
        ("failed", failed),
        ("cancelled", cancelled),
        ("resumed", resumed),
        ("replayed", replayed),
        ("expired", expired),
        ("compensated", compensated),
        ("fenced", fenced),
        ("conflicts", conflicts),
    ] {
        assert!(number > 100, "only {number} {what}: the lives are not what they should be");
    }
}

macro_rules! lives {
    ($($name:ident: $part:literal;)+) => {
        $(#[test]
        fn $name() {
            lives($part * 12_520, 12_520);
        })+
    };
}

// Parts, so that they run side by side: a hundred thousand lives in all.
lives! {
    whatever_happens_the_rules_of_a_run_hold_0: 0;
    whatever_happens_the_rules_of_a_run_hold_1: 1;
    whatever_happens_the_rules_of_a_run_hold_2: 2;
    whatever_happens_the_rules_of_a_run_hold_3: 3;
    whatever_happens_the_rules_of_a_run_hold_4: 4;
    whatever_happens_the_rules_of_a_run_hold_5: 5;
    whatever_happens_the_rules_of_a_run_hold_6: 6;
    whatever_happens_the_rules_of_a_run_hold_7: 7;
}

#[test]
fn one_life() {
    let seed = std::env::var("LIFE").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    life::live(definition(seed), seed, &mut Tally::default());
}
