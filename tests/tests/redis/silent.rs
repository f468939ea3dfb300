//! Connections that fall silent and stay so: they are dropped and made anew, and the work continues.

use std::time::{Duration, Instant};

use squidmesh_core::secs;
use squidmesh_tests::{RedisServer, block_on};

use crate::errands::Errands;
use crate::road::Road;

/// The time within which work continues once new connections come through.
const WITHIN: Duration = Duration::from_secs(10);

mod sqlite {
    use super::*;

    #[test]
    fn work_continues_within_ten_seconds_of_the_networks_return() {
        const RUNS: usize = 5;
        block_on(async {
            let server = RedisServer::start().await;
            let road = Road::to(*server).await;
            let errands = Errands::at(server, road.address(), &["default"], |executor| executor).await;
            errands
                .working(async {
                    errands.start(RUNS).await;
                    errands.until_all_are_done().await;
                    for (round, away) in [secs(0), secs(7)].into_iter().enumerate() {
                        road.close();
                        tokio::time::sleep(away).await;
                        road.open();
                        let begun = Instant::now();
                        errands.start(RUNS).await;
                        errands.until_all_are_done().await;
                        eprintln!("in round {round} work continued after {:?}", begun.elapsed());
                        assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
                    }
                    road.close();
                })
                .await;
            errands.each_was_begun_once(3 * RUNS);
        });
    }
}
