//! The limits: the bare SQL of one hop, without a runtime around it, as fast as a client on this machine can execute
//! it.
//!
//! A hop is: change the run, complete the step run, insert the next step run, delete the intent, insert the next
//! intent. The tables are this module's own, in the shape that the store's tables had when it was written (columns,
//! keys, indexes, fill factors, rows of a step that does nothing), so that a store which becomes heavier does not
//! lower the limit it is measured against. Like the store's, the connections use indexes. Every statement is
//! prepared, and every number of changed rows is checked.

mod postgres;
mod sqlite;

pub(crate) use postgres::measure as on_postgres;
pub(crate) use sqlite::measure as on_sqlite;

use std::time::Duration;

use sea_orm::sqlx::types::Uuid;

/// The number of concurrent runs: as many as in the workload that is judged by the limit.
const RUNS: usize = 10_000;

/// The extent to which the limits are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) each: Duration,
    /// Whether measurements that form no ratio are included.
    pub(crate) all: bool,
}

/// A run and the number of its completed hops.
#[derive(Clone, Copy, Debug)]
struct Hopper {
    id: Uuid,
    hops: i64,
}

impl Hopper {
    fn all() -> Vec<Hopper> {
        // The first 48 bits are a time, as in the ids of runs.
        let id = |number: u128| {
            Uuid::from_u128((0x0198_0000_0000_u128 + number / 8) << 80 | 0x7000_8000_u128 << 48 | scattered(number))
        };
        (0..RUNS as u128).map(|number| Hopper { id: id(number), hops: 0 }).collect()
    }

    fn step(&self) -> String {
        format!("step-{}", self.hops)
    }

    fn next_step(&self) -> String {
        format!("step-{}", self.hops + 1)
    }
}

/// Returns a fresh token; like the random ones of the store, no two are near each other.
fn token(number: u64) -> Uuid {
    Uuid::from_u128(scattered(u128::from(number)) << 64 | scattered(u128::from(number) + 7))
}

fn scattered(number: u128) -> u128 {
    (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).into()
}

const FINGERPRINT: &str = "5d41402abc4b2a76b9719d911017c592ae0c3a1b6f8d2e4c7b9a0f1e2d3c4b5a";
