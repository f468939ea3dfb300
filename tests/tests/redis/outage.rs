//! What is logged about a Redis that cannot be used: that it is so, why, and when it is over, once each.

use redis::cmd;
use squidmesh_core::ms;
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::{Log, RedisServer, block_on};
use tracing_subscriber::filter::LevelFilter;

use crate::errands::{Errands, SWEEP};

mod sqlite {
    use super::*;

    #[test]
    fn an_outage_is_logged_once_and_so_is_its_end() {
        let log = listen();
        block_on(async {
            let mut server = RedisServer::start().await;
            let errands = Errands::at(RedisServer::start().await, *server, &["default"], |executor| executor).await;
            let working = errands.working(async {
                errands.start(5).await;
                errands.until_all_are_done().await;
                assert_eq!(logged(&log, "Redis"), Vec::<String>::new());
                server.kill();
                until_it_fails_again_and_again(&log, "reaching Redis").await;
                server.restart().await;
                errands.start(5).await;
                errands.until_all_are_done().await;
                until(&log, "INFO", "reaching Redis", 1).await;
            });
            working.await;
            let logged = logged(&log, "reaching Redis");
            assert_eq!(logged.len(), 2, "{logged:?}");
            assert!(logged[0].contains("connection refused"), "{logged:?}");
        });
    }

    #[test]
    fn a_wrong_password_is_logged_once_and_not_shown() {
        let log = listen();
        block_on(async {
            let server = RedisServer::with_settings("user worker on >right ~* +@all").await;
            let (address, port) = (*server, server.port());
            let wrong = RedisExecutor::new(format!("redis://worker:wrong@127.0.0.1:{port}")).unwrap();
            let errands = Errands::at(server, address, &["default"], |_| wrong).await;
            let working = errands.working(async {
                errands.start(5).await;
                until_it_fails_again_and_again(&log, "reaching Redis").await;
                errands.redis.ask::<()>(cmd("ACL").arg("SETUSER").arg("worker").arg(">wrong")).await.unwrap();
                errands.until_all_are_done().await;
                until(&log, "INFO", "reaching Redis", 1).await;
            });
            working.await;
            assert_eq!(logged(&log, "reaching Redis").len(), 2, "{}", log.text());
            assert!(logged(&log, "reaching Redis")[0].contains("authentication failed"), "{}", log.text());
            assert!(!log.text().contains("wrong@") && !log.text().contains(":wrong"), "at no level: {}", log.text());
        });
    }

    #[test]
    fn refused_reads_are_logged_once_and_so_is_their_end() {
        let log = listen();
        block_on(async {
            let server = RedisServer::with_settings("user worker on >right ~* +@all -xreadgroup").await;
            let (address, port) = (*server, server.port());
            let executor = RedisExecutor::new(format!("redis://worker:right@127.0.0.1:{port}")).unwrap();
            let errands =
                Errands::at(server, address, &["default"], |_| executor.concurrency(4).sweep_interval(SWEEP)).await;
            let working = errands.working(async {
                errands.start(5).await;
                until_it_fails_again_and_again(&log, "reading the streams").await;
                errands.redis.ask::<()>(cmd("ACL").arg("SETUSER").arg("worker").arg("+xreadgroup")).await.unwrap();
                errands.until_all_are_done().await;
                until(&log, "INFO", "reading the streams", 1).await;
            });
            working.await;
            assert_eq!(logged(&log, "reading the streams").len(), 2, "{}", log.text());
        });
    }
}

mod sqlite_without_xautoclaim {
    use super::*;

    #[test]
    fn a_refused_command_is_logged_with_its_cause() {
        const RUNS: usize = 10;
        let log = listen();
        block_on(async {
            let server = RedisServer::with_settings("user worker on >right ~* +@all -xautoclaim").await;
            let (address, port) = (*server, server.port());
            let executor = RedisExecutor::new(format!("redis://worker:right@127.0.0.1:{port}")).unwrap();
            let executor = executor.sweep_interval(SWEEP);
            let errands = Errands::at(server, address, &["default"], |_| executor).await;
            errands.announce(RUNS).await;
            errands.read_and_die(RUNS).await;
            let working = errands.working(async {
                until(&log, "ERROR", "XAUTOCLAIM", 1).await;
                until(&log, "WARN", "reclaiming the entries of dead readers", 1).await;
                // The run is executed nevertheless.
                errands.until_all_are_done().await;
                errands.redis.ask::<()>(cmd("ACL").arg("SETUSER").arg("worker").arg("+xautoclaim")).await.unwrap();
            });
            working.await;
            errands.each_was_begun_once(RUNS);
            let said = log.lines("reclaiming the entries of dead readers");
            assert!(said.iter().any(|line| line.contains("Redis refuses XAUTOCLAIM")), "{said:?}");
        });
    }
}

/// Collects the log of the whole process, which is that of one test.
fn listen() -> Log {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_ansi(false);
    tracing::subscriber::set_global_default(subscriber.with_writer(log.clone()).finish())
        .expect("each test has a process of its own");
    log
}

/// Returns the lines about something that hosts see at the level that most of them choose.
fn logged(log: &Log, what: &str) -> Vec<String> {
    log.lines(what).into_iter().filter(|line| !line.contains("DEBUG")).collect()
}

/// Waits until `what` has been logged `times` times at a level.
async fn until(log: &Log, level: &str, what: &str, times: usize) {
    for _ in 0..1_000 {
        if log.lines(what).iter().filter(|line| line.contains(level)).count() >= times {
            return;
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("{what} is not logged at {level}, {times} times: {}", log.text());
}

/// Waits until it is logged that something does not work, and until it has failed a few times more.
async fn until_it_fails_again_and_again(log: &Log, what: &str) {
    until(log, "WARN", what, 1).await;
    let before = log.lines(what).iter().filter(|line| line.contains("DEBUG")).count();
    until(log, "DEBUG", what, before + 4).await;
}
