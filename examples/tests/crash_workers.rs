//! A shop with worker processes, over the database alone and over Redis: the same summary as from one undisturbed
//! process, whichever process is killed.

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

use std::time::Duration;

use shop_process::Home;
use squidmesh_examples::scenario::Scenario;

/// Early and midway in the life of a shop that takes some seconds.
const MOMENTS: [Duration; 2] = [Duration::from_millis(900), Duration::from_millis(2_100)];

/// Kills the shop with all its workers, and then a worker alone, at each of the moments.
fn are_killed(home: impl Fn() -> Home) {
    let expected = Home::on_sqlite(Scenario::Plain).run().summary;
    assert!(expected.contains("all of it reconciles"), "{expected}");
    let mut deaths = 0;
    for moment in MOMENTS {
        let shop = home();
        shop.kill_after(moment);
        assert_eq!(shop.run().summary, expected, "after the shop was killed at {moment:?}");
        let shop = home();
        let (ran, killed) = shop.run_and_kill_a_worker_after(moment);
        deaths += usize::from(killed);
        assert_eq!(ran.summary, expected, "after a worker was killed at {moment:?}: {}", ran.journey);
        println!("a worker was killed after {moment:?}: {killed}; {}", ran.journey);
    }
    assert_ne!(deaths, 0, "every shop was done before a worker could be killed");
}

mod sqlite {
    use super::*;

    #[test]
    fn crash_of_a_worker_or_of_the_whole_shop_changes_nothing() {
        are_killed(|| Home::on_sqlite(Scenario::Plain).with_workers(2));
    }
}

#[cfg(all(feature = "postgres", feature = "redis"))]
mod postgres {
    use super::*;

    #[test]
    fn crash_of_a_worker_or_of_the_whole_shop_over_redis_changes_nothing() {
        are_killed(|| Home::on_postgres(Scenario::Plain).over_redis(1).with_workers(2));
    }

    #[test]
    fn crash_free_workers_over_redis_do_everything_that_a_shop_can() {
        let expected = Home::on_sqlite(Scenario::All).run().summary;
        assert_eq!(Home::on_postgres(Scenario::All).over_redis(2).with_workers(2).run().summary, expected);
    }
}
