//! Keys of hosts and keys of the runtime never collide, however alike they look (SPEC 5).

use serde_json::json;
use squidmesh_core::command::{BulkOutcome, DeliveryOutcome};
use squidmesh_core::definition::{MissedPolicy, WorkflowName};
use squidmesh_core::port::{Commit, CommitOutcome, Precondition};
use squidmesh_core::{COMPLETE, Field, Run, RunFilter, RunId, RunStatus, StepError, Timestamp, Trigger, Workflow};

use super::{done, nothing, workflow};
use crate::{Backend, Journal, World};

fn nightly(journal: &std::sync::Arc<Journal>) -> Workflow {
    let cron = Trigger::cron("nightly").expression("0 3 * * *").time_zone("UTC").missed(MissedPolicy::All);
    Workflow::builder("settlement")
        .trigger(cron)
        .trigger(Trigger::manual("by_hand").field(Field::string("why").optional()))
        .step(journal.step("settle", done))
        .then("settle", COMPLETE)
        .build()
        .unwrap()
}

async fn failed(world: &World) -> RunId {
    let run = world.start_run("fragile", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Failed);
    run.id
}

fn fragile(journal: &std::sync::Arc<Journal>) -> Workflow {
    let breaks = journal.step("one", |_| Err(StepError::terminal("broken")));
    workflow("fragile").step(breaks).then("one", COMPLETE).build().unwrap()
}

/// Starts a run under a host's key, twice: it is one run, which shows the key that the host gave.
async fn started_by_host(world: &World, name: &str, trigger: &str, key: &str) -> Run {
    let start = || world.start_run(name, &nothing()).trigger(trigger).idempotency_key(key);
    let run = start().await.unwrap();
    assert_eq!(run.idempotency_key.as_deref(), Some(key));
    assert_eq!(start().await.unwrap().id, run.id, "the key starts one run");
    assert_eq!(world.find_run(name, key).await.unwrap().unwrap().id, run.id);
    assert_eq!(world.look(run.id).await.run.idempotency_key.as_deref(), Some(key));
    run
}

pub async fn a_hosts_key_suppresses_no_occurrence(backend: &Backend) {
    for forged_first in [true, false] {
        let world = backend.world([nightly(&Journal::new())]);
        let day = if forged_first { "2025-12-20" } else { "2025-12-21" };
        let due: Timestamp = format!("{day}T03:00:00.000Z").parse().unwrap();
        let key = format!("cron:nightly:{due}");
        let fire = async || {
            let payload =
                json!({"v": 1, "kind": "cron", "workflow": "settlement", "trigger": "nightly", "intended_at": due});
            let delivery = world.runner().perform(payload.to_string().as_bytes()).await.unwrap();
            assert!(matches!(delivery, DeliveryOutcome::Done { .. }), "{delivery:?}");
        };
        if !forged_first {
            fire().await;
        }
        let forged = started_by_host(&world, "settlement", "by_hand", &key).await;
        assert_eq!(forged.intended_at, None);
        fire().await;
        fire().await;
        let runs = world.list_runs(&RunFilter::new()).await.unwrap().runs;
        let fired: Vec<_> = runs.iter().filter(|run| run.intended_at == Some(due)).collect();
        assert_eq!(fired.len(), 1, "the occurrence has a run of its own: {runs:?}");
        assert_ne!(fired[0].id, forged.id);
        // Whichever key that run shows, no start under that key returns the run.
        let shown = fired[0].idempotency_key.clone().unwrap();
        let start = world.start_run("settlement", &nothing()).trigger("by_hand").idempotency_key(shown).await.unwrap();
        assert_ne!(start.id, fired[0].id);
    }
}

pub async fn a_hosts_key_is_no_resumption_and_no_replay(backend: &Backend) {
    let world = backend.world([fragile(&Journal::new())]);
    let old = failed(&world).await;
    let forged = started_by_host(&world, "fragile", "manual", &format!("resume:{old}")).await;
    let resumed = world.resume_run(old).await.unwrap();
    assert_eq!((resumed.resumed_from, forged.resumed_from), (Some(old), None));
    assert_eq!(world.resume_run(old).await.unwrap().id, resumed.id, "it is resumed once");
    let again = started_by_host(&world, "fragile", "manual", &format!("resume:{old}")).await;
    assert_eq!(again.id, forged.id);

    let forged = started_by_host(&world, "fragile", "manual", &format!("replay:outage:{old}")).await;
    let filter = || RunFilter::new().workflow(WorkflowName::new("fragile").unwrap()).status(RunStatus::Failed);
    let page = world.replay_runs(filter()).batch_key("outage").await.unwrap();
    let of = page.runs.iter().find(|run| run.id == old).unwrap();
    let BulkOutcome::Started(replay) = &of.outcome else { panic!("{of:?}") };
    assert_eq!(replay.replayed_from, Some(old));
    assert_ne!(replay.id, forged.id);
}

pub async fn an_unmarked_key_of_an_older_host_is_still_its_own(backend: &Backend) {
    let world = backend.world([fragile(&Journal::new())]);
    let like = world.start_run("fragile", &nothing()).await.unwrap();
    let key = "resume:order-7";
    let run =
        Run { id: RunId::from_uuid(uuid::Uuid::new_v4()), revision: 1, idempotency_key: Some(key.to_owned()), ..like };
    let id = run.id;
    let answers = backend.store().commit(vec![Commit::new(run, Precondition::Absent)]).await.unwrap();
    assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
    assert_eq!(world.start_run("fragile", &nothing()).idempotency_key(key).await.unwrap().id, id);
    assert_eq!(world.find_run("fragile", key).await.unwrap().unwrap().id, id);
}
