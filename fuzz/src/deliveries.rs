//! Delivered payloads are read or rejected; a payload that is rejected, or names no existing work, changes
//! nothing.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::json;
use squidmesh_core::command::{DeliveryOutcome, PerformError};
use squidmesh_core::dispatch::DeliveryMessage;
use squidmesh_core::port::StoreSession;
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{COMPLETE, RunId, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};

struct Host {
    mesh: Squidmesh,
    store: MemoryStore,
    run: RunId,
    before: RunSnapshot,
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

async fn nothing(_: serde_json::Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

/// Returns a host with a run whose first step waits, so that no delivery is ever due.
fn host() -> Host {
    let clock = Arc::new(ManualClock::default());
    let (store, executor) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock));
    let waits = Step::new("pack", squidmesh_core::wait(squidmesh_core::hours(1)));
    let workflow = Workflow::builder("shop")
        .trigger(Trigger::manual("buy"))
        .trigger(Trigger::cron("nightly").expression("0 3 * * *").time_zone("UTC"))
        .step(waits)
        .step(Step::new("send", nothing))
        .then("pack", "send")
        .then("send", COMPLETE)
        .build()
        .expect("the workflow is valid");
    let mesh = Squidmesh::builder(store.clone())
        .executor(executor.clone())
        .workflow(workflow)
        .build()
        .expect("it is configured");
    let run = block_on(mesh.start_run("shop", &json!({})).trigger("buy")).expect("it starts").id;
    for _ in 0..3 {
        let _ = block_on(mesh.runner().perform(&step(run, "pack")));
    }
    let before = block_on(store.load(run)).expect("the store is there").expect("the run is there");
    Host { mesh, store, run, before }
}

fn step(run: RunId, step: &str) -> Vec<u8> {
    json!({ "v": 1, "kind": "step", "run_id": run, "step": step }).to_string().into_bytes()
}

pub fn run(data: &[u8]) {
    if let Ok(payload) = &DeliveryMessage::parse(data) {
        let written = payload.to_string();
        assert_eq!(DeliveryMessage::parse(written.as_bytes()).as_ref(), Ok(payload));
        let typed: DeliveryMessage = serde_json::from_str(&written).expect("it is its own JSON");
        assert_eq!(&typed, payload);
        if let Some(key) = payload.intent() {
            assert_eq!(&DeliveryMessage::from(&key), payload);
        }
    }
    HOST.with_borrow_mut(|host| {
        let host = host.get_or_insert_with(self::host);
        // The bytes may name any run; `run` is the name of the one that exists.
        let known = String::from_utf8_lossy(data).replace("\"run\"", &format!("\"{}\"", host.run));
        match (block_on(host.mesh.runner().perform(known.as_bytes())), DeliveryMessage::parse(known.as_bytes())) {
            (Ok(DeliveryOutcome::Ignored(_)), _) => {}
            (Err(PerformError::InvalidMessage(_)), Err(_)) => {}
            // An occurrence may be started: it is another run.
            (Ok(_) | Err(PerformError::Cron { .. }), Ok(DeliveryMessage::Cron { .. })) => {}
            // An occurrence may also be left for another process, or never be fired by its trigger.
            (
                Err(PerformError::UnknownTrigger { .. } | PerformError::InvalidMessage(_)),
                Ok(DeliveryMessage::Cron { .. }),
            ) => {}
            (Err(PerformError::InvalidMessage(_)), Ok(_)) => panic!("what can be read was refused"),
            (answer, parsed) => panic!("{parsed:?} was answered by {answer:?}"),
        }
        let after = block_on(host.store.load(host.run)).expect("the store is there");
        assert_eq!(after.as_ref(), Some(&host.before), "nothing was touched");
    });
}
