//! A master that its sentinels replace.

use redis::{Value as Answer, cmd};
use squidmesh_core::secs;
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::over_redis::Look;
use squidmesh_tests::{RedisServer, block_on};

use crate::errands::{Errands, SWEEP};
use crate::workers::PREFIX;

/// The name under which the sentinel knows the master.
const MASTER: &str = "errands";

mod sqlite {
    use super::*;

    #[test]
    fn workers_follow_their_sentinels_to_a_promoted_replica() {
        const EACH: usize = 300;
        block_on(async {
            let mut master = RedisServer::start().await;
            let replica = RedisServer::replica_of(&master).await;
            let sentinel = RedisServer::sentinel_of(&master, MASTER).await;
            let address = *replica;
            let errands = Errands::at(replica, address, &["default"], |_| {
                let executor = RedisExecutor::sentinels(&[&sentinel.url()], MASTER, "redis://any").unwrap();
                executor.concurrency(16).sweep_interval(SWEEP)
            });
            let errands = errands.await;
            errands
                .working(async {
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    let used = Look::at(*master, PREFIX).streams().await.unwrap();
                    assert!(!used.is_empty(), "the work went over the master");
                    master.kill();
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            errands.each_was_begun_once(2 * EACH);
            let role: Vec<Answer> = errands.redis.ask(&cmd("ROLE")).await.unwrap();
            assert_eq!(role[0], Answer::BulkString(b"master".to_vec()), "the replica is the master now");
        });
    }
}
