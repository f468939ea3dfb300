//! Ten thousand secrets pass through a deployment over SQLite and Redis: payloads, contexts, outputs, errors, panics,
//! what operators enter, and the addresses of servers. None appears in logs and spans at the finest level, in events,
//! in anything that is sent to Redis, or in the text of any error, with nothing configured.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use squidmesh_core::testing::RecordingSink;
use squidmesh_core::{
    COMPLETE, Field, Retry, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger, Workflow,
    approval, ms,
};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{Log, TestDatabase, TestRedis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tracing_subscriber::fmt::format::FmtSpan;

/// The prefix of every secret.
const MARK: &str = "canary-";
const RUNS: usize = 60;

static SEEDED: AtomicUsize = AtomicUsize::new(0);

fn secret() -> String {
    format!("{MARK}{:05}", SEEDED.fetch_add(1, Ordering::Relaxed))
}

fn secrets(count: usize) -> Value {
    (0..count).map(|_| Value::from(secret())).collect()
}

async fn spread(_: Value, _: StepContext) -> StepResult<Value> {
    Ok(json!({ "card": secret(), "more": secrets(60) }))
}

async fn fail(_: Value, context: StepContext) -> StepResult<Value> {
    match context.attempt {
        1 => Err(StepError::retryable(secret()).kind(secret() + " ").details(json!({ "card": secrets(10) }))),
        2 => panic!("{}", secret()),
        3 => Err(io::Error::other(secret()).into()),
        _ => Ok(Value::from(format!("\0{}", secret()))), // an output that cannot be kept
    }
}

async fn undo(_: Value, _: StepContext) -> StepResult<()> {
    Err(StepError::terminal(secret()))
}

fn leaky() -> Workflow {
    Workflow::builder("leaky")
        .trigger(Trigger::manual("go").field(Field::list("secrets")).field(Field::map("nested")))
        .step(Step::new("spread", spread).compensate(undo))
        .step(Step::new("ask", approval()))
        .step(Step::new("fail", fail).retry(Retry::fixed(4, ms(1))))
        .then("spread", "ask")
        .then("ask", "fail")
        .on_error("ask", "fail")
        .then("fail", COMPLETE)
        .build()
        .unwrap()
}

/// Collects everything that is sent to the server of the tests.
async fn monitor() -> Log {
    let address = TestRedis::address();
    let host = address.trim_start_matches("redis://").split('/').next().unwrap().to_owned();
    let mut connection = tokio::net::TcpStream::connect(&host).await.unwrap();
    connection.write_all(b"MONITOR\r\n").await.unwrap();
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    let said = Log::default();
    let mut kept = said.clone();
    tokio::spawn(async move {
        let mut part = vec![0; 65_536];
        while let Ok(length @ 1..) = connection.read(&mut part).await {
            kept.write_all(&part[..length]).unwrap();
        }
    });
    said
}

/// Returns the text of an error, its debug form, and its causes.
fn text_of(error: &(dyn Error + 'static)) -> String {
    let (mut said, mut cause) = (format!("{error} {error:?}"), error.source());
    while let Some(found) = cause {
        said.push_str(&format!("\n{found} {found:?}"));
        cause = found.source();
    }
    said
}

/// Returns the errors for addresses with secrets in them, of every kind.
async fn addresses() -> Vec<String> {
    let (mut said, mut connecting) = (Vec::new(), Vec::new());
    for scheme in ["postgres", "postgresql", "mysql", "http", "sqlite"] {
        for rest in ["127.0.0.1:1/shop", "127.0.0.1:1/shop?sslmode=disable", "no host/", "[::1/x", "127.0.0.1:99999/x"]
        {
            let url = format!("{scheme}://shop:{}@{rest}", secret());
            let builder = SeaOrmStore::builder(&url);
            said.push(format!("{builder:?}"));
            // A SQLite address is the name of a file, and this one's directory does not exist. A refused connection
            // is retried for a while.
            connecting.push(async move { text_of(&builder.connect().await.expect_err("nothing is there")) });
        }
    }
    said.extend(join_all(connecting).await);
    for address in [
        "redis://shop:SECRET@127.0.0.1:1/",
        "redis://:SECRET@no host/",
        "http://shop:SECRET@h/",
        "redis://shop:SECRET@h:x/",
    ] {
        match RedisExecutor::new(address.replace("SECRET", &secret())) {
            Err(error) => said.push(text_of(&error)),
            Ok(executor) => {
                said.push(format!("{executor:?}"));
                let store = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
                let mesh = Squidmesh::builder(store).executor(executor).workflow(leaky()).build().unwrap();
                // It does not exist: every report about it is in the log.
                let _ =
                    tokio::time::timeout(Duration::from_millis(400), mesh.run_workers(std::future::pending())).await;
            }
        }
    }
    said
}

async fn live(mesh: &Squidmesh) -> Vec<String> {
    let mut said = Vec::new();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let payload = json!({ "secrets": secrets(60), "nested": { "deep": secrets(30) } });
        runs.push(mesh.start_run("leaky", &payload).idempotency_key(secret()).await.unwrap().id);
        let wrong = Map::from_iter([("secrets".to_owned(), Value::from(secret())), ("nested".to_owned(), secrets(2))]);
        said.push(text_of(&mesh.start_run("leaky", &wrong).await.unwrap_err()));
    }
    for id in &runs {
        loop {
            match mesh.approve_run(*id).actor(secret()).comment(secret()).await {
                Ok(_) => break,
                Err(error) => said.push(text_of(&error)), // it is not there yet
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for id in &runs {
        loop {
            let details = mesh.inspect_run(*id).await.unwrap();
            if details.run.status == RunStatus::Failed && details.intents.is_empty() {
                assert!(format!("{details:?}").contains(MARK), "it is stored as it is");
                said.push(format!("{:?}", details.redacted(&squidmesh_core::inspect::ShowNothing)));
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        said.push(text_of(&mesh.cancel_run(*id).comment(secret()).await.unwrap_err()));
    }
    said
}

mod redis_sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_secret_comes_out_of_a_deployment() {
        std::panic::set_hook(Box::new(|_| {})); // what a panic prints is the host's to decide
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();

        let (database, redis, sent) = (TestDatabase::sqlite(), TestRedis::fresh(), monitor().await);
        let store = SeaOrmStore::connect(database.url()).await.unwrap();
        let sink = RecordingSink::new();
        let executor = redis.executor().concurrency(8).sweep_interval(Duration::from_millis(50));
        let builder = Squidmesh::builder(store).executor(executor).event_sink(sink.clone()).workflow(leaky());
        let mesh = builder.build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let working = mesh.clone();
        let workers = tokio::spawn(async move { working.run_workers(async { drop(stopped.await) }).await });
        let mut said = live(&mesh).await;
        stop.send(()).unwrap();
        workers.await.unwrap().unwrap();
        said.extend(addresses().await);
        said.extend(sink.events().iter().map(|event| format!("{event:?}")));
        drop(std::panic::take_hook());

        assert!(SEEDED.load(Ordering::Relaxed) >= 10_000, "only {SEEDED:?} secrets");
        for text in &said {
            assert!(!text.contains(MARK), "{text}");
        }
        for (name, text, expected) in [("the log", log.text(), "step.failed"), ("Redis", sent.text(), redis.prefix())] {
            assert!(text.contains(expected), "{expected} is not in {name}");
            assert_eq!(text.lines().find(|line| line.contains(MARK)), None, "in {name}");
        }
    }
}
