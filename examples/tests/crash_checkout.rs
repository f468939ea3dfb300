//! `kill -9` at any moment: started again, the shop comes to the same summary.
//!
//! Twenty plain shops on each database, and some in which everything happens at once: reviews, sagas, held parcels
//! and a night. Each is started, killed at a moment of its own between its start and the time that an undisturbed one
//! takes, and started again. The output at the end must be exactly that of an undisturbed shop; a summary names every
//! violation, and only a sound one ends with exit code 0.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say what they tried"
)]

#[allow(dead_code, reason = "each of the programs uses its part")]
mod shop_process;

use std::thread;
use std::time::{Duration, Instant};

use shop_process::{Home, Ran};
use squidmesh_core::testing::SeededEntropy;
use squidmesh_examples::scenario::Scenario;

/// The number of shops killed on each database, and the number of concurrent ones: mostly they wait for leases and
/// backoff.
const PLAIN_SHOPS: usize = 20;
const EVENTFUL_SHOPS: usize = 4;
const AT_A_TIME: usize = 4;

/// Kills `shops` shops, each on its own database created by `home`.
fn are_killed(shops: usize, home: impl Fn() -> Home + Sync) {
    let undisturbed = home();
    let begun = Instant::now();
    let Ran { summary: expected, journey } = undisturbed.run();
    let whole = begun.elapsed();
    assert!(expected.contains("all of it reconciles"), "{journey}{expected}");

    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    let draws = SeededEntropy::new(seed);
    let moments: Vec<_> = (0..shops).map(|_| whole * draws.below(1_000) as u32 / 1_000).collect();
    println!("seed {seed}: an undisturbed shop takes {whole:?}; the others are killed after {moments:?}");
    let killed_at_work = thread::scope(|scope| {
        let lanes: Vec<_> = moments
            .chunks(shops.div_ceil(AT_A_TIME))
            .map(|moments| {
                scope.spawn(|| moments.iter().filter(|moment| killed_once(&home(), **moment, &expected)).count())
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum::<usize>()
    });
    assert!(killed_at_work > 0, "no shop had begun to work when it was killed, so nothing was tried");
}

/// Kills a shop once and starts it again; returns whether it was killed at work, and not before or after.
fn killed_once(home: &Home, moment: Duration, expected: &str) -> bool {
    home.kill_after(moment);
    let Ran { summary, journey } = home.run();
    assert_eq!(summary, expected, "after a kill at {moment:?}: {journey}");
    let again = home.run();
    assert_eq!(again.summary, expected, "a further start after a kill at {moment:?}");
    assert!(again.journey.contains(" 0 orders started,"), "a further start began something: {}", again.journey);
    !journey.contains(" 0 steps done") && !journey.contains(" 0 already known")
}

mod sqlite {
    use super::*;

    #[test]
    fn crash_at_any_of_twenty_moments_changes_nothing() {
        are_killed(PLAIN_SHOPS, || Home::on_sqlite(Scenario::Plain));
    }

    #[test]
    fn crash_in_the_midst_of_people_sagas_and_schedules_changes_nothing() {
        are_killed(EVENTFUL_SHOPS, || Home::on_sqlite(Scenario::All));
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;

    #[test]
    fn crash_at_any_of_twenty_moments_changes_nothing() {
        are_killed(PLAIN_SHOPS, || Home::on_postgres(Scenario::Plain));
    }

    #[test]
    fn crash_in_the_midst_of_people_sagas_and_schedules_changes_nothing() {
        are_killed(EVENTFUL_SHOPS, || Home::on_postgres(Scenario::All));
    }
}
