//! A Redis that is out of memory and evicts nothing.

use std::collections::BTreeSet;

use redis::cmd;
use squidmesh_tests::{RedisServer, block_on};

use crate::errands::{Errands, SWEEP};

/// The number of runs, and of unreadable entries, each time.
const RUNS: usize = 50;
const LETTERS: usize = 20;

mod sqlite {
    use super::*;

    #[test]
    fn a_redis_without_memory_keeps_its_dead_letters() {
        block_on(async {
            let redis = RedisServer::with_settings("maxmemory-policy noeviction").await;
            let address = *redis;
            let errands = Errands::at(redis, address, &["default"], |executor| executor).await;
            errands.announce(RUNS).await;
            unreadable(&errands, 0).await;
            let first = errands.working(async {
                errands.until_all_are_done().await;
                errands.until(|held| held.dead == LETTERS && held.is_at_rest()).await;
            });
            first.await;

            // Announced while there is memory, and read when there is none.
            errands.announce(RUNS).await;
            unreadable(&errands, LETTERS).await;
            memory(&errands, 1).await;
            let second = errands.working(async {
                errands.until_all_are_done().await;
                // They stay with their reader, which retries them again and again.
                errands.until(|held| (held.entries, held.pending) == (LETTERS, LETTERS)).await;
                errands.start(RUNS).await;
                tokio::time::sleep(2 * SWEEP).await;
                let held = errands.look.held().await.unwrap();
                assert_eq!((held.entries, held.pending, held.dead), (LETTERS, LETTERS, LETTERS));
                memory(&errands, 0).await;
                errands.until_all_are_done().await;
                errands.until(|held| held.dead == 2 * LETTERS && held.is_at_rest()).await;
            });
            second.await;
            errands.each_was_begun_once(3 * RUNS);
            let letters = errands.executor.dead_letters(None, 1_000).await.unwrap();
            let payloads: BTreeSet<Vec<u8>> = letters.into_iter().map(|letter| letter.payload).collect();
            let expected = (0..2 * LETTERS).map(|number| payload(number).into_bytes());
            assert_eq!(payloads, expected.collect(), "each of them is there");
        });
    }
}

/// Returns an unreadable payload.
fn payload(number: usize) -> String {
    format!("nothing {number}")
}

/// Adds `LETTERS` unreadable entries.
async fn unreadable(errands: &Errands, first: usize) {
    let stream = errands.look.streams().await.unwrap().remove(0);
    let mut connection = errands.redis.connect().await.unwrap();
    for number in first..first + LETTERS {
        let mut add = cmd("XADD");
        add.arg(&stream).arg("*").arg("payload").arg(payload(number));
        add.query_async::<()>(&mut connection).await.unwrap();
    }
}

/// Limits the memory of Redis to `bytes`; 0 removes the limit.
async fn memory(errands: &Errands, bytes: usize) {
    errands.redis.ask::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes)).await.unwrap();
}
