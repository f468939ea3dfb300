//! Everything that Redis may lose unnoticed, a thousand times each: every run completes, once.

use std::collections::BTreeSet;
use std::time::Instant;

use redis::cmd;
use squidmesh_core::testing::SeededEntropy;
use squidmesh_core::{ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::block_on;

use crate::errands::{Errands, SWEEP};
use crate::workers::SLACK;

/// The number of losses of each kind.
const MANY: usize = 1_000;
/// The number of announcements that always wait, where there is a backlog.
const BACKLOG: usize = 20_000;

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

    /// A full backlog waits at any time, so that no reader ever finds less than it requests.
    #[test]
    fn entries_of_a_dead_reader_do_not_wait_behind_a_backlog() {
        const HELD: usize = 50;
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(HELD).await;
            errands.read_and_die(HELD).await;
            let stream = errands.look.streams().await.unwrap().remove(0);
            backlog(&errands, &stream).await;
            let done = errands.working(async {
                let begun = Instant::now();
                let all_done = async {
                    errands.until_all_are_done().await;
                    begun.elapsed()
                };
                let feeding = async {
                    loop {
                        let waiting = backlog(&errands, &stream).await;
                        assert!(waiting > BACKLOG / 4, "the workers are faster than the backlog grows: {waiting}");
                        tokio::time::sleep(ms(10)).await;
                    }
                };
                tokio::select! {
                    done = all_done => done,
                    () = feeding => unreachable!("it feeds for ever"),
                }
            });
            let done = done.await;
            eprintln!("beside a backlog, what a dead reader had read took {done:?}");
            assert!(done <= SWEEP + SLACK, "{done:?}");
            errands.each_was_begun_once(HELD);
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
    fn entries_trimmed_before_a_worker_read_them_are_announced_again() {
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
            delete_streams(&errands).await;
            eprintln!("what a deleted stream held took {:?}", errands.finish(MANY).await);
        });
    }

    #[test]
    fn groups_and_streams_that_vanish_lose_nothing() {
        const ROUNDS: usize = 300;
        const RUNS: usize = 3;
        block_on(async {
            let errands = Errands::new().await;
            let mut destroyed = 0;
            errands
                .working(async {
                    for round in 0..ROUNDS {
                        // The groups are destroyed while the runs are announced, read and settled.
                        let (gone, ()) = tokio::join!(destroy_groups(&errands), errands.start(RUNS));
                        destroyed += gone;
                        match round % 30 {
                            10 => errands.redis.flush().await,
                            20 => delete_streams(&errands).await,
                            _ => {}
                        }
                    }
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            eprintln!("{destroyed} groups were destroyed under their readers");
            assert!(destroyed >= ROUNDS / 2, "{destroyed}: they are made again in between");
            errands.each_was_begun_once(ROUNDS * RUNS);
        });
    }

    /// Twenty readers of twenty queues, all of which are cut off or woken with an error while they wait, and while an
    /// entry arrives for each of them.
    #[test]
    fn a_read_cancelled_while_it_waits_loses_nothing() {
        const QUEUES: usize = 20;
        block_on(async {
            let seed = uuid::Uuid::new_v4().as_u64_pair().0;
            eprintln!("seed {seed}");
            let rng = SeededEntropy::new(seed);
            let queues: Vec<String> = (0..QUEUES).map(|number| format!("queue-{number}")).collect();
            let lanes = |executor: RedisExecutor| {
                let lane = |executor: RedisExecutor, queue: &String| executor.queue(queue, 2).unwrap();
                queues.iter().fold(executor, lane)
            };
            let errands = Errands::on_queues(&queues, lanes).await;
            let (mut cancelled, mut started) = (0, 0);
            errands
                .working(async {
                    let mut connection = errands.redis.connect().await.unwrap();
                    while cancelled < MANY {
                        let waiting = blocked(&errands).await;
                        if waiting.len() < QUEUES / 2 {
                            tokio::time::sleep(ms(2)).await;
                            continue;
                        }
                        let mut cancels = redis::pipe();
                        for (number, id) in waiting.iter().enumerate() {
                            let cancel = cancels.cmd("CLIENT");
                            match (cancelled + number) % 3 {
                                0 => cancel.arg("KILL").arg("ID").arg(id),
                                1 => cancel.arg("UNBLOCK").arg(id).arg("ERROR"),
                                _ => cancel.arg("UNBLOCK").arg(id),
                            };
                        }
                        // A run is announced on every queue: before the readers of some of them are cancelled, and
                        // after others.
                        let moment = ms(rng.below(8));
                        tokio::join!(errands.start(1), async {
                            tokio::time::sleep(moment).await;
                            // Some of them no longer wait.
                            if !waiting.is_empty() {
                                cancels
                                    .ignore_errors()
                                    .query_async::<Vec<redis::Value>>(&mut connection)
                                    .await
                                    .unwrap();
                            }
                        });
                        cancelled += waiting.len();
                        started += 1;
                    }
                    errands.until_all_are_done().await;
                    errands.look.until_at_rest(secs(30)).await;
                })
                .await;
            eprintln!("{cancelled} reads were cancelled, beside {} announcements", started * QUEUES);
            errands.each_was_begun_once(started);
        });
    }

    #[test]
    fn all_that_is_due_is_announced_again_within_a_sweep_of_a_loss() {
        block_on(async {
            // A worker so slow that all entries but one wait.
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

/// Destroys every consumer group. Returns how many there were.
async fn destroy_groups(errands: &Errands) -> usize {
    let mut destroyed = 0;
    for stream in errands.look.streams().await.unwrap() {
        for group in errands.look.groups(&stream).await.unwrap() {
            destroyed +=
                errands.redis.ask::<usize>(cmd("XGROUP").arg("DESTROY").arg(&stream).arg(group)).await.unwrap();
        }
    }
    destroyed
}

async fn delete_streams(errands: &Errands) {
    for stream in errands.look.streams().await.unwrap() {
        errands.redis.ask::<()>(cmd("DEL").arg(stream)).await.unwrap();
    }
}

/// Fills a stream with announcements of work that does not exist. Returns how many entries there were.
async fn backlog(errands: &Errands, stream: &str) -> usize {
    let waiting: usize = errands.redis.ask(cmd("XLEN").arg(stream)).await.unwrap();
    let mut pipe = redis::pipe();
    for _ in waiting..BACKLOG {
        let run = uuid::Uuid::new_v4();
        let payload = format!(r#"{{"v":1,"kind":"step","run_id":"{run}","step":"default"}}"#);
        pipe.cmd("XADD").arg(stream).arg("*").arg("payload").arg(payload).ignore();
    }
    if waiting < BACKLOG {
        pipe.query_async::<()>(&mut errands.redis.connect().await.unwrap()).await.unwrap();
    }
    waiting
}

/// Returns the connections that wait in a blocking read.
async fn blocked(errands: &Errands) -> BTreeSet<String> {
    let clients: String = errands.redis.ask(cmd("CLIENT").arg("LIST")).await.unwrap();
    let waiting = clients.lines().filter_map(|client| {
        let field = |name: &str| client.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        (field("flags")?.contains('b')).then(|| field("id"))?.map(str::to_owned)
    });
    waiting.collect()
}
