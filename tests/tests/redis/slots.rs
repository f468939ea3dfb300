//! A cluster of three masters, and a replica of the one that has the slot of the work.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::{FromRedisValue, cmd};
use squidmesh_core::{ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::over_redis::Look;
use squidmesh_tests::{RedisServer, block_on, free_port};

use crate::errands::{Errands, SWEEP};
use crate::workers::PREFIX;

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

mod sqlite {
    use super::*;

    #[test]
    fn workers_follow_their_slot_from_node_to_node() {
        const EACH: usize = 300;
        block_on(async {
            let Nodes { owner, mut replica, other, another } = Nodes::start().await;
            let addresses = [&owner, &replica, &other, &another].map(|node| node.url());
            let owners = *owner;
            let errands = Errands::at(owner, owners, &["default"], |_| {
                let executor = RedisExecutor::cluster(&addresses.each_ref().map(String::as_str)).unwrap();
                executor.concurrency(16).sweep_interval(SWEEP)
            });
            let errands = errands.await;
            errands
                .working(async {
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    assert!(
                        !errands.look.streams().await.unwrap().is_empty(),
                        "the work went over the owner of the slot"
                    );

                    // A graceful failover: the data moves with the slot.
                    said(&replica, &["FAILOVER"]).await;
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    until(|| async { role(&replica).await == "master" }).await;
                    until(|| async { role(&errands.redis).await == "slave" }).await;
                    errands.redis.follows().await;
                    assert!(!Look::at(*replica, PREFIX).streams().await.unwrap().is_empty());

                    // And back to the first, when the others find the second dead.
                    replica.kill();
                    let begun = Instant::now();
                    errands.start(EACH).await;
                    errands.until_all_are_done().await;
                    eprintln!("after the owner of the slot had died, the work took {:?}", begun.elapsed());
                    assert_eq!(role(&errands.redis).await, "master");
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            errands.each_was_begun_once(3 * EACH);
        });
    }
}

/// The nodes of a cluster.
struct Nodes {
    /// The master that has the slot of the work.
    owner: RedisServer,
    /// The replica of the owner.
    replica: RedisServer,
    other: RedisServer,
    another: RedisServer,
}

impl Nodes {
    async fn start() -> Self {
        let node = || async {
            let bus = free_port();
            let settings = format!(
                "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 1000\ncluster-replica-validity-factor 0\n\
                 cluster-allow-replica-migration no"
            );
            (RedisServer::with_settings(&settings).await, bus)
        };
        let mut nodes = join_all((0..=MASTERS).map(|_| node())).await;
        for (place, (node, bus)) in nodes.iter().enumerate() {
            said(node, &["SET-CONFIG-EPOCH", &(place + 1).to_string()]).await;
            if place < MASTERS {
                let (first, behind) = (place * SLOTS / MASTERS, (place + 1) * SLOTS / MASTERS);
                said(node, &["ADDSLOTSRANGE", &first.to_string(), &(behind - 1).to_string()]).await;
            }
            said(&nodes[0].0, &["MEET", "127.0.0.1", &node.port().to_string(), &bus.to_string()]).await;
        }
        for (node, _) in &nodes {
            until(|| async {
                let state: String = answer(node, &["INFO"]).await;
                let knows = state.contains(&format!("cluster_known_nodes:{}", MASTERS + 1));
                knows && state.contains("cluster_state:ok")
            })
            .await;
        }
        let slot: usize = answer(&nodes[0].0, &["KEYSLOT", &format!("{{{PREFIX}}}")]).await;
        let replica = nodes.remove(MASTERS).0;
        let owner = nodes.remove(slot * MASTERS / SLOTS).0;
        let id: String = answer(&owner, &["MYID"]).await;
        said(&replica, &["REPLICATE", &id]).await;
        replica.follows().await;
        for node in [&owner, &nodes[0].0, &nodes[1].0] {
            until(|| async { answer::<Vec<String>>(node, &["REPLICAS", &id]).await.len() == 1 }).await;
        }
        let (another, other) = (nodes.remove(1).0, nodes.remove(0).0);
        Nodes { owner, replica, other, another }
    }
}

/// Returns a node's answer to a command about the cluster.
async fn answer<T: FromRedisValue>(node: &RedisServer, words: &[&str]) -> T {
    node.ask(cmd("CLUSTER").arg(words)).await.expect("the node answers")
}

async fn said(node: &RedisServer, words: &[&str]) {
    assert_eq!(answer::<String>(node, words).await, "OK", "{words:?}");
}

/// Returns whether a node is a master or a replica.
async fn role(node: &RedisServer) -> String {
    let mut answer: Vec<redis::Value> = node.ask(&cmd("ROLE")).await.expect("the node answers");
    redis::from_redis_value(answer.remove(0)).expect("a word")
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < WAIT_TIMEOUT, "it does not come to that");
        tokio::time::sleep(ms(20)).await;
    }
}
