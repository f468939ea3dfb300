//! A user with no more than the permissions in the guide, and connections that cannot be eavesdropped on.

use std::path::Path;
use std::sync::Arc;

use redis::{Value as Answer, cmd};
use serde_json::json;
use squidmesh_core::{RunStatus, Squidmesh, ms, secs};
use squidmesh_executor_redis::{RedisExecutor, RedisExecutorError};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster::WorkerProcess;
use squidmesh_tests::over_redis::{CHAIN, workflows};
use squidmesh_tests::{RedisServer, TestDatabase, block_on, free_port};

use crate::errands::{Errands, SWEEP};

/// The guide, which contains the line of the user.
const GUIDE: &str = include_str!("../../../squidmesh-core/docs/guides/choosing-an-executor.md");

mod sqlite {
    use super::*;

    #[test]
    fn a_user_with_the_documented_rights_is_refused_nothing() {
        const MANY: usize = 200;
        block_on(async {
            let user = GUIDE.lines().find(|line| line.starts_with("user squidmesh ")).expect("the guide has the line");
            let redis = RedisServer::with_settings(user).await;
            let (address, port) = (*redis, redis.port());
            let executor = RedisExecutor::new(format!("redis://squidmesh:password@127.0.0.1:{port}")).unwrap();
            let executor = executor.concurrency(16).sweep_interval(SWEEP);
            let errands = Errands::at(redis, address, &["default"], |_| executor).await;
            // Everything that an executor ever does: it announces, reads, waits, takes over, sets aside and resends.
            errands.announce(MANY).await;
            errands.read_and_die(MANY / 2).await;
            let stream = errands.look.streams().await.unwrap().remove(0);
            for payload in ["no payload", r#"{"v":2,"kind":"step"}"#] {
                let mut add = cmd("XADD");
                errands.redis.ask::<String>(add.arg(&stream).arg("*").arg("payload").arg(payload)).await.unwrap();
            }
            errands
                .working(async {
                    errands.until_all_are_done().await;
                    errands.start(MANY).await;
                    errands.until_all_are_done().await;
                    while errands.executor.dead_letters(None, 10).await.unwrap().is_empty() {
                        tokio::time::sleep(ms(20)).await;
                    }
                })
                .await;
            errands.each_was_begun_once(2 * MANY);
            let letter = errands.executor.dead_letters(None, 10).await.unwrap().remove(0);
            errands.executor.return_dead_letter(&letter.id).await.unwrap();
            let gone = errands.executor.drop_dead_letter(&letter.id).await;
            assert!(matches!(gone, Err(RedisExecutorError::UnknownDeadLetter { .. })), "{gone:?}");

            let refused: Vec<Answer> = errands.redis.ask(cmd("ACL").arg("LOG")).await.unwrap();
            assert!(refused.is_empty(), "{refused:?}");
            for forbidden in
                [&["FLUSHALL"][..], &["KEYS", "*"], &["CONFIG", "GET", "*"], &["GET", "{squidmesh}:x"], &["DEL", "x"]]
            {
                let mut dry = cmd("ACL");
                let said: String = errands.redis.ask(dry.arg("DRYRUN").arg("squidmesh").arg(forbidden)).await.unwrap();
                assert_ne!(said, "OK", "{forbidden:?}");
            }
        });
    }

    #[test]
    fn work_goes_over_tls_to_trusted_servers_only() {
        const RUNS: usize = 20;
        block_on(async {
            let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/tls");
            let (certificate, key) = (keys.join("certificate.pem"), keys.join("key.pem"));
            let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
            let port = free_port();
            let redis = RedisServer::with_settings(&format!(
                "tls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\ntls-auth-clients no"
            ))
            .await;
            let secure = format!("rediss://localhost:{port}");

            // This process trusts the machine's certificates, among which the tests' is not.
            let refused = RedisExecutor::new(&secure).unwrap().dead_letters(None, 1).await;
            assert!(matches!(refused, Err(RedisExecutorError::Unreachable { .. })), "{refused:?}");

            // It starts runs over the server's unencrypted port; only the worker, which trusts the certificate,
            // works.
            let database = TestDatabase::sqlite();
            let store = SeaOrmStore::connect(database.url()).await.unwrap();
            let builder = Squidmesh::builder(store).executor(RedisExecutor::new(redis.url()).unwrap());
            let builder = workflows(ms(0), &(Arc::new(|_: &_| {}) as _))
                .into_iter()
                .fold(builder, |mesh, workflow| mesh.workflow(workflow));
            let mesh = builder.build().unwrap();
            let journals = tempfile::tempdir().unwrap();
            let trusted = format!("SSL_CERT_FILE={certificate}");
            let worker = env!("CARGO_BIN_EXE_redis_worker");
            let journals = journals.path().to_str().unwrap();
            let arguments = [&*trusted, worker, database.url(), &secure, journals, "worker", "0", "10000", "1000"];
            let worker = WorkerProcess::start_with("env", "worker", &arguments).await;
            for _ in 0..RUNS {
                let run = mesh.start_run(CHAIN, &json!({})).await.unwrap();
                let begun = std::time::Instant::now();
                while mesh.inspect_run(run.id).await.unwrap().run.status != RunStatus::Completed {
                    assert!(begun.elapsed() < secs(20), "no worker carries a run out");
                    tokio::time::sleep(ms(5)).await;
                }
            }
            worker.stop().await;
        });
    }
}
