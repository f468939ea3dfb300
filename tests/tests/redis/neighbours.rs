//! Two databases behind one server and one prefix.

use std::time::Instant;

use squidmesh_core::{ms, secs};
use squidmesh_tests::{RedisServer, block_on};

use crate::errands::Errands;

mod sqlite {
    use super::*;

    #[test]
    fn two_databases_behind_one_prefix_do_not_disturb_each_other() {
        const RUNS: usize = 50;
        block_on(async {
            // An announcement that one of them missed would wait for a minute.
            let one = Errands::with(|executor| executor.sweep_interval(secs(60))).await;
            let address = *one.redis;
            let patient = |executor: squidmesh_executor_redis::RedisExecutor| executor.sweep_interval(secs(60));
            let other = Errands::at(RedisServer::start().await, address, &["default"], patient).await;
            one.announce(RUNS).await;
            other
                .working(async {
                    other.start(RUNS).await;
                    other.until_all_are_done().await;
                    one.start(RUNS).await;
                    tokio::time::sleep(ms(500)).await;
                })
                .await;
            other.each_was_begun_once(RUNS);
            one.until(|held| held.entries == 2 * RUNS && held.pending == 0).await;
            let begun = Instant::now();
            one.working(one.until_all_are_done()).await;
            assert!(begun.elapsed() < secs(20), "{:?}", begun.elapsed());
            one.each_was_begun_once(2 * RUNS);
        });
    }
}
