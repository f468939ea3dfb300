//! Ten thousand secrets pass through payloads, inputs, outputs, errors, panics and what operators enter, and none
//! appears in logs, spans, events or the text of errors, at default settings and with everything logged.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use squidmesh_core::inspect::ShowNothing;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, RecordingSink, block_on};
use squidmesh_core::{
    COMPLETE, Field, Retry, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Trigger, Workflow,
    approval, ms,
};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The prefix of every secret.
const MARK: &str = "canary-";

static SEEDED: AtomicUsize = AtomicUsize::new(0);

fn secret() -> String {
    format!("{MARK}{:05}", SEEDED.fetch_add(1, Ordering::Relaxed))
}

fn secrets(count: usize) -> Value {
    Value::Array((0..count).map(|_| Value::from(secret())).collect())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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

/// What the last step wants, and is not given.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount: u64,
    currency: Currency,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Currency {
    Euro,
    Dollar,
}

async fn spread(_: Value, context: StepContext) -> StepResult<Value> {
    let _ = context.heartbeat.beat().await;
    Ok(json!({ "amount": secret(), "currency": secret(), "more": secrets(40) }))
}

async fn fail(_: Value, context: StepContext) -> StepResult<Value> {
    match context.attempt {
        1 => Err(StepError::retryable(secret()).details(json!({ "card": secrets(5) }))),
        2 => panic!("{}", secret()),
        3 => Err(io::Error::other(secret()).into()),
        _ => Ok(Value::from(format!("\0{}", secret()))), // an output that cannot be kept
    }
}

async fn want(_: Amount, _: StepContext) -> StepResult<()> {
    Ok(())
}

async fn undo(_: Value, _: StepContext) -> StepResult<()> {
    Err(StepError::terminal(secret()))
}

fn leaky() -> Workflow {
    Workflow::builder("leaky")
        .trigger(Trigger::manual("go").field(Field::list("secrets")).field(Field::map("nested")))
        .step(Step::new("spread", spread).compensate(undo))
        .step(Step::new("fail", fail).retry(Retry::fixed(4, ms(1))))
        .step(Step::new("want", want))
        .then("spread", "fail")
        .then("fail", "want")
        .on_error("fail", "want")
        .then("want", COMPLETE)
        .build()
        .unwrap()
}

fn asked() -> Workflow {
    Workflow::builder("asked")
        .trigger(Trigger::manual("go"))
        .step(Step::new("ask", approval()))
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE)
        .build()
        .unwrap()
}

fn typed() -> Workflow {
    let step = Step::new("want", want);
    Workflow::builder("typed")
        .trigger(Trigger::manual("go").payload::<Amount>())
        .step(step)
        .then("want", COMPLETE)
        .build()
        .unwrap()
}

#[test]
fn no_secret_comes_out_in_logs_spans_or_the_text_of_errors() {
    std::panic::set_hook(Box::new(|_| {})); // what a panic prints is the host's to decide
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let said = tracing::subscriber::with_default(subscriber, || block_on(live()));
    drop(std::panic::take_hook());

    assert!(SEEDED.load(Ordering::Relaxed) >= 10_000, "only {SEEDED:?} secrets");
    assert!(said.len() > 100, "errors were reported");
    for text in said {
        assert!(!text.contains(MARK), "{text}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for expected in ["step.failed", "compensation.failed", "run.transition", "leaky"] {
        assert!(log.contains(expected), "{expected} is not in the log");
    }
    let leak = log.lines().find(|line| line.contains(MARK));
    assert_eq!(leak, None);
}

/// Runs a hundred runs full of secrets, and returns every text that the runtime made of errors and events.
async fn live() -> Vec<String> {
    let clock = Arc::new(ManualClock::default());
    let (store, executor, sink) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock), RecordingSink::new());
    let builder = Squidmesh::builder(store).executor(executor.clone()).event_sink(sink.clone());
    let mesh = builder.workflow(leaky()).workflow(typed()).workflow(asked()).build().unwrap();
    let mut said = Vec::new();
    for _ in 0..100 {
        let payload = json!({ "secrets": secrets(30), "nested": { "deep": secrets(20) } });
        let run = mesh.start_run("leaky", &payload).await.unwrap();
        executor.run_to_rest(&mesh).await.unwrap();
        let details = mesh.inspect_run(run.id).await.unwrap();
        assert_eq!(details.run.status, RunStatus::Failed);
        assert!(serde_json::to_string(&details.context).unwrap().contains(MARK), "they are stored");
        let last = details.run.last_error.unwrap();
        assert_eq!(last.kind, "invalid_input");
        said.push(last.message); // the runtime's own words about an input that does not fit

        let refused: [Map<String, Value>; 3] = [
            Map::from_iter([("secrets".to_owned(), Value::from(secret())), ("nested".to_owned(), secrets(2))]),
            Map::from_iter([("amount".to_owned(), Value::from(secret())), ("currency".to_owned(), secrets(1))]),
            Map::from_iter([("amount".to_owned(), Value::from(7)), ("currency".to_owned(), Value::from(secret()))]),
        ];
        for (workflow, payload) in ["leaky", "typed", "typed"].into_iter().zip(refused) {
            let error = mesh.start_run(workflow, &payload).await.unwrap_err();
            said.extend([error.to_string(), format!("{error:?}")]);
        }
        let asked = mesh.start_run("asked", &json!({})).await.unwrap();
        executor.run_to_rest(&mesh).await.unwrap();
        let given = Map::from_iter([("key".to_owned(), secrets(3))]);
        mesh.reject_run(asked.id).actor(secret()).comment(secret()).metadata(given).await.unwrap();
        executor.run_to_rest(&mesh).await.unwrap();
        let shown = mesh.inspect_run(asked.id).await.unwrap();
        assert!(format!("{shown:?}").contains(MARK), "it is stored as it is");
        said.push(format!("{:?}", shown.redacted(&ShowNothing)));
        said.push(format!("{:?}", mesh.inspect_run(run.id).await.unwrap().redacted(&ShowNothing)));
        let error = mesh.approve_run(run.id).comment(secret()).actor(secret()).await.unwrap_err();
        said.extend([error.to_string(), format!("{error:?}")]);
    }
    said.extend(sink.events().iter().map(|event| format!("{event:?}")));
    said
}
