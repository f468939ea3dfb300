//! A replica that is promoted by hand, without the last writes of its primary.

use redis::cmd;
use squidmesh_core::secs;
use squidmesh_tests::{Crossing, RedisAddress, RedisServer, block_on};

use crate::errands::Errands;
use crate::workers::a_second;

mod sqlite {
    use super::*;

    #[test]
    fn a_replica_promoted_without_recent_writes_loses_nothing() {
        const EACH: usize = 400;
        block_on(async {
            let mut primary = RedisServer::start().await;
            let replica = RedisServer::replica_of(&primary).await;
            let crossing = Crossing::to(primary.port()).await;
            let address = RedisAddress::new(crossing.port());
            let errands = Errands::at(replica, address, &["default"], |executor| executor).await;
            errands.announce(EACH).await;
            errands
                .working(async {
                    // From here on the replica receives nothing: what is read, acknowledged and announced now is
                    // lost.
                    errands.redis.ask::<()>(cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
                    errands.start(EACH).await;
                    a_second().await;
                    primary.kill();
                    errands.start(EACH).await;
                    crossing.switch_to(errands.redis.port());
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            errands.each_was_begun_once(4 * EACH);
        });
    }
}
