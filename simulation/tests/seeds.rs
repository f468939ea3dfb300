//! Seeds repeat, things happen in them, and deliberate defects are found. `cargo xtask simulate` runs thousands of
//! seeds.
#![allow(missing_docs, clippy::unwrap_used, reason = "these are tests")]

use squidmesh_simulation::mutation::Mutation;
use squidmesh_simulation::world::{Tally, live};

#[test]
fn a_seed_repeats_exactly_and_another_is_another() {
    let hashes: Vec<u64> = (0..12).map(|seed| live(seed, None, false).hash).collect();
    assert_eq!(hashes, (0..12).map(|seed| live(seed, None, true).hash).collect::<Vec<_>>());
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn seeds_break_no_rule_and_much_happens_in_them() {
    let mut tally = Tally::default();
    for seed in 1_000_000..1_000_060 {
        let outcome = live(seed, None, false);
        assert_eq!(outcome.violations, [], "seed {seed}");
        tally.add(&outcome.tally);
    }
    let counts = [tally.completed, tally.failed, tally.cancelled, tally.waiting, tally.deaths, tally.freezes];
    assert!(counts.iter().all(|count| *count > 0), "{tally:?}");
    assert!(tally.compensations > 0 && tally.handlers > tally.runs, "{tally:?}");
}

#[test]
fn a_seed_that_breaks_a_rule_has_a_trace() {
    let found = live(1, Some(Mutation::LostOutput), true);
    assert!(!found.violations.is_empty());
    assert!(found.trace.iter().any(|line| line.contains("commits revision")), "{:?}", found.trace);
}
