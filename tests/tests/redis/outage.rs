//! What the log says of a Redis that cannot be used: that it is so, why, and when it is over, once each.

use std::io;
use std::sync::{Arc, Mutex};

use redis::cmd;
use squidmesh_core::{ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_tests::{RedisServer, block_on};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::errands::{Errands, SWEEP};

mod sqlite {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_so_is_its_end() {
        let log = Log::listen();
        block_on(async {
            let mut server = RedisServer::start().await;
            let errands = Errands::at(RedisServer::start().await, *server, &["default"], |executor| executor).await;
            let working = errands.working(async {
                errands.start(5).await;
                errands.until_all_are_done().await;
                assert_eq!(log.lines("Redis"), Vec::<String>::new());
                server.kill();
                log.until("WARN", "reaching Redis").await;
                // Many attempts fail meanwhile.
                tokio::time::sleep(secs(2)).await;
                server.restart().await;
                errands.start(5).await;
                errands.until_all_are_done().await;
                log.until("INFO", "reaching Redis").await;
            });
            working.await;
            let told = log.lines("reaching Redis");
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(told[0].contains("connection refused"), "{told:?}");
        });
    }

    #[test]
    fn a_wrong_password_is_told_once_and_not_shown() {
        let log = Log::listen();
        block_on(async {
            let server = RedisServer::with_settings("user worker on >right ~* +@all").await;
            let (address, port) = (*server, server.port());
            let wrong = RedisExecutor::new(&format!("redis://worker:wrong@127.0.0.1:{port}")).unwrap();
            let errands = Errands::at(server, address, &["default"], |_| wrong).await;
            let working = errands.working(async {
                errands.start(5).await;
                log.until("WARN", "reaching Redis").await;
                tokio::time::sleep(secs(2)).await;
                errands.redis.ask::<()>(cmd("ACL").arg("SETUSER").arg("worker").arg(">wrong")).await.unwrap();
                errands.until_all_are_done().await;
                log.until("INFO", "reaching Redis").await;
            });
            working.await;
            let told = log.lines("");
            assert_eq!(log.lines("reaching Redis").len(), 2, "{told:?}");
            assert!(told.iter().any(|line| line.contains("authentication failed")), "{told:?}");
            assert!(!told.iter().any(|line| line.contains("wrong@") || line.contains(":wrong")), "{told:?}");
        });
    }

    #[test]
    fn reads_that_are_refused_are_told_once_and_so_is_their_end() {
        let log = Log::listen();
        block_on(async {
            let server = RedisServer::with_settings("user worker on >right ~* +@all -xreadgroup").await;
            let (address, port) = (*server, server.port());
            let executor = RedisExecutor::new(&format!("redis://worker:right@127.0.0.1:{port}")).unwrap();
            let errands =
                Errands::at(server, address, &["default"], |_| executor.concurrency(4).sweep_interval(SWEEP)).await;
            let working = errands.working(async {
                errands.start(5).await;
                log.until("WARN", "reading the streams").await;
                tokio::time::sleep(secs(2)).await;
                errands.redis.ask::<()>(cmd("ACL").arg("SETUSER").arg("worker").arg("+xreadgroup")).await.unwrap();
                errands.until_all_are_done().await;
                log.until("INFO", "reading the streams").await;
            });
            working.await;
            assert_eq!(log.lines("reading the streams").len(), 2, "{:?}", log.lines(""));
        });
    }
}

/// What hosts see at the level that most of them choose.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to the whole process, which is that of one test.
    fn listen() -> Self {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false);
        let subscriber = subscriber.with_writer(log.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).expect("each test has a process of its own");
        log
    }

    /// The lines with this in them.
    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }

    /// Waits until something is told at a level.
    async fn until(&self, level: &str, what: &str) {
        for _ in 0..1_000 {
            if self.lines(what).iter().any(|line| line.contains(level)) {
                return;
            }
            tokio::time::sleep(ms(10)).await;
        }
        panic!("{what} is not told at {level}: {:?}", self.lines(""));
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
