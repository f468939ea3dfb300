//! What Redis may lose while nobody looks, a thousand times each: whatever it is, every run completes, once.

use std::collections::BTreeSet;

use redis::cmd;
use squidmesh_core::{ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::block_on;

use crate::crew::SLACK;
use crate::errands::{Errands, SWEEP};

/// How many of each.
const MANY: usize = 1_000;

mod sqlite {
    use super::*;

    #[test]
    fn what_dead_readers_had_read_is_delivered_to_others() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            errands.read_and_die(MANY).await;
            errands.until(|held| held.pending == MANY).await;
            eprintln!("what a dead reader had read took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn entries_trimmed_while_pending_are_announced_again() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            errands.read_and_die(MANY).await;
            trim(&errands).await;
            errands.until(|held| (held.entries, held.pending) == (0, MANY)).await;
            eprintln!("what was trimmed while pending took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn entries_trimmed_before_anybody_read_them_are_announced_again() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            trim(&errands).await;
            eprintln!("what was trimmed unread took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn a_consumer_deleted_with_what_it_had_read_loses_nothing() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            errands.read_and_die(MANY).await;
            for stream in errands.look.streams().await.unwrap() {
                let group = errands.group(&stream).await;
                let mut delete = cmd("XGROUP");
                delete.arg("DELCONSUMER").arg(&stream).arg(group).arg("the-dead");
                assert_eq!(errands.redis.ask::<usize>(&delete).await.unwrap(), MANY);
            }
            errands.until(|held| (held.entries, held.pending) == (MANY, 0)).await;
            eprintln!("what a deleted consumer had read took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn a_group_destroyed_with_all_that_was_read_loses_nothing() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            errands.read_and_die(MANY).await;
            destroy_groups(&errands).await;
            eprintln!("what a destroyed group had read took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn a_deleted_stream_loses_nothing() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(MANY).await;
            for stream in errands.look.streams().await.unwrap() {
                errands.redis.ask::<()>(cmd("DEL").arg(stream)).await.unwrap();
            }
            eprintln!("what a deleted stream held took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn groups_and_streams_that_vanish_under_their_readers_lose_nothing() {
        block_on(async {
            let errands = Errands::new().await;
            errands
                .working(async {
                    for round in 0..10 {
                        errands.start(MANY / 10).await;
                        match round % 3 {
                            0 => destroy_groups(&errands).await,
                            1 => errands.redis.flush().await,
                            _ => {
                                for stream in errands.look.streams().await.unwrap() {
                                    errands.redis.ask::<()>(cmd("DEL").arg(stream)).await.unwrap();
                                }
                            }
                        }
                    }
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            errands.each_was_begun_once(MANY);
        });
    }

    /// Twenty readers of twenty queues, all of whom are cut off or woken with an error while they wait.
    #[test]
    fn a_read_cancelled_while_it_waits_loses_nothing() {
        const QUEUES: usize = 20;
        block_on(async {
            let queues: Vec<String> = (0..QUEUES).map(|number| format!("queue-{number}")).collect();
            let lanes = |executor: RedisExecutor| {
                let lane = |executor: RedisExecutor, queue: &String| executor.queue(queue, 2).unwrap();
                queues.iter().fold(executor, lane)
            };
            let errands = Errands::on_queues(&queues, lanes).await;
            let (mut cancelled, mut rounds, mut started) = (0, 0, 0);
            errands
                .working(async {
                    while cancelled < MANY {
                        let waiting = blocked(&errands).await;
                        for (number, id) in waiting.iter().enumerate() {
                            let mut cancel = cmd("CLIENT");
                            match (cancelled + number) % 3 {
                                0 => cancel.arg("KILL").arg("ID").arg(id),
                                1 => cancel.arg("UNBLOCK").arg(id).arg("ERROR"),
                                _ => cancel.arg("UNBLOCK").arg(id),
                            };
                            errands.redis.ask::<usize>(&cancel).await.unwrap_or_default();
                        }
                        cancelled += waiting.len();
                        rounds += 1;
                        if rounds % 10 == 0 {
                            errands.start(1).await;
                            started += 1;
                        }
                        tokio::time::sleep(ms(5)).await;
                    }
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            eprintln!("{cancelled} reads were cancelled, {started} runs started meanwhile");
            errands.each_was_begun_once(started);
        });
    }

    #[test]
    fn all_that_is_due_is_announced_again_within_a_sweep_of_a_loss() {
        block_on(async {
            // A worker so slow that all but one of them wait.
            let errands = Errands::with(|executor| executor.concurrency(1)).await;
            errands.announce(MANY).await;
            errands.redis.flush().await;
            let (due, time) = errands.working(errands.look.until_all_is_announced(&errands.mesh, secs(30))).await;
            eprintln!("{due} due intents were announced again or taken within {time:?}");
            assert!(time <= SWEEP + SLACK, "{time:?}");
        });
    }
}

async fn trim(errands: &Errands) {
    for stream in errands.look.streams().await.unwrap() {
        errands.redis.ask::<usize>(cmd("XTRIM").arg(stream).arg("MAXLEN").arg(0)).await.unwrap();
    }
}

async fn destroy_groups(errands: &Errands) {
    for stream in errands.look.streams().await.unwrap() {
        for group in errands.look.groups(&stream).await.unwrap() {
            errands.redis.ask::<usize>(cmd("XGROUP").arg("DESTROY").arg(&stream).arg(group)).await.unwrap();
        }
    }
}

/// The connections that wait in a blocking read.
async fn blocked(errands: &Errands) -> BTreeSet<String> {
    let clients: String = errands.redis.ask(cmd("CLIENT").arg("LIST")).await.unwrap();
    let waiting = clients.lines().filter_map(|client| {
        let field = |name: &str| client.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        (field("flags")?.contains('b')).then(|| field("id"))?.map(str::to_owned)
    });
    waiting.collect()
}
