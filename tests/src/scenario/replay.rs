//! Replayed runs, and runs that resume from where others failed (SPEC 11).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use squidmesh_core::command::{
    BulkError, BulkOutcome, InvalidActor, ReplayError, ResumeError, StartError, Unresumable,
};
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::inspect::StepState;
use squidmesh_core::run::AuditKind;
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{COMPLETE, Retry, RunFilter, RunId, RunStatus, StepContext, StepError, StepResult, Workflow, ms};

use super::{chain, done, nothing, workflow};
use crate::world::{attempts, states, step};
use crate::{Backend, Journal, World};

/// Whether the broken step has been mended.
#[derive(Clone, Default)]
struct Mended(Arc<AtomicBool>);

impl Mended {
    fn mend(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn answer(&self) -> impl Fn(&crate::Call) -> StepResult<Value> + Send + Sync + 'static {
        let mended = self.0.clone();
        move |_| match mended.load(Ordering::SeqCst) {
            true => Ok(json!({"mended": true})),
            false => Err(StepError::terminal("broken")),
        }
    }
}

/// one → two, which is broken → three
fn fragile(journal: &Arc<Journal>, mended: &Mended) -> Workflow {
    workflow("fragile")
        .step(journal.step("one", |call| Ok(json!({"seen": call.input["order"]}))))
        .step(journal.step("two", mended.answer()))
        .step(journal.step("three", done))
        .then("one", "two")
        .then("two", "three")
        .then("three", COMPLETE)
        .build()
        .unwrap()
}

async fn failed(world: &World, name: &str) -> RunId {
    let run = world.start_run(name, &json!({"order": {"n": 1}})).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Failed);
    run.id
}

pub async fn a_replay_is_a_new_run_of_the_payload_linked_to_the_old(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &json!({"order": {"n": 1}})).await.unwrap();
    let before = world.settle(run.id).await;
    let replay = world.replay_run(run.id).actor("ada").await.unwrap();
    assert_ne!(replay.id, run.id);
    assert_eq!((replay.replayed_from, &replay.payload), (Some(run.id), &run.payload));
    let details = world.settle(replay.id).await;
    assert_eq!(
        (details.run.status, journal.steps()),
        (RunStatus::Completed, ["one", "two", "one", "two"].map(str::to_owned).to_vec())
    );
    assert_eq!(world.look(run.id).await, before, "the old run is as it was");
    assert_eq!(details.run.replayed_from, Some(run.id));
}

pub async fn a_replay_of_irreversible_effects_must_be_allowed(backend: &Backend) {
    let journal = Journal::new();
    let lasting = workflow("lasting").step(journal.step("mail", done).irreversible()).then("mail", COMPLETE).build();
    let world = backend.world([lasting.unwrap()]);
    let run = world.start_run("lasting", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let refused = world.replay_run(run.id).await.unwrap_err();
    assert!(matches!(&refused, ReplayError::UnsafeReplay { steps, .. } if steps[0].as_str() == "mail"), "{refused}");
    assert_eq!(world.list_runs(&RunFilter::new()).await.unwrap().runs.len(), 1, "nothing was stored");
    assert!(world.replay_run(run.id).allow_irreversible().await.is_ok());
}

pub async fn only_a_run_that_has_ended_is_replayed(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let refused = world.replay_run(run.id).await.unwrap_err();
    assert!(matches!(refused, ReplayError::NotEnded { status: RunStatus::Pending, .. }), "{refused}");
    world.cancel_run(run.id).await.unwrap();
    assert!(world.replay_run(run.id).await.is_ok());
}

pub async fn many_replays_at_once_with_one_key_are_one_replay(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let replays = (0..8).map(|_| {
        let mesh = world.mesh.clone();
        tokio::spawn(async move { mesh.replay_run(run.id).idempotency_key("again").await.unwrap().id })
    });
    let mut ids = Vec::new();
    for replay in replays.collect::<Vec<_>>() {
        ids.push(replay.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(world.list_runs(&RunFilter::new()).await.unwrap().runs.len(), 2);
}

pub async fn a_resumed_run_begins_at_the_failed_step_and_keeps_the_rest(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    let old = failed(&world, "fragile").await;
    let before = world.look(old).await;
    mended.mend();
    let run = world.resume_run(old).actor("ada").await.unwrap();
    assert_eq!((run.resumed_from, run.status), (Some(old), RunStatus::Pending));
    assert_eq!(&run.payload, &before.run.payload);
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["one", "two", "two", "three"], "what was done is not done again");
    assert_eq!(details.context.get("seen"), Some(&json!({"n": 1})), "its output is kept");
    assert_eq!(states(&details), [StepState::Completed; 3]);
    assert_eq!((attempts(&details, "one").len(), attempts(&details, "two")), (0, vec!["completed"]));
    assert_eq!(step(&details, "one").run.as_ref().unwrap().output, step(&before, "one").run.as_ref().unwrap().output);
    let entry = &details.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Resumed, Some("ada")));
    assert_eq!(world.event_names(&run)[..2], ["run.resumed", "audit.resumed"]);
    assert_eq!(world.look(old).await, before, "failed is final: the old run is as it was");
}

pub async fn a_resumed_run_may_fail_and_be_resumed_again(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    let old = failed(&world, "fragile").await;
    let second = world.resume_run(old).await.unwrap();
    assert_eq!(world.settle(second.id).await.run.status, RunStatus::Failed);
    mended.mend();
    let third = world.resume_run(second.id).await.unwrap();
    let details = world.settle(third.id).await;
    assert_eq!((details.run.status, details.run.resumed_from), (RunStatus::Completed, Some(second.id)));
    assert_eq!(journal.of("one").len(), 1);
}

pub async fn a_resumed_fan_does_what_was_left_and_joins_once(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let fan = workflow("fan")
        .step(journal.step("root", |_| Ok(json!({"root": 1}))))
        .step(journal.step("fatal", mended.answer()).after(["root"]))
        .step(journal.step("sibling", |_| Ok(json!({"sibling": 2}))).after(["root"]))
        .step(journal.step("join", done).after(["fatal", "sibling"]))
        .build()
        .unwrap();
    let world = backend.world([fan]);
    let old = failed(&world, "fan").await;
    mended.mend();
    let run = world.resume_run(old).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, states(&details)), (RunStatus::Completed, vec![StepState::Completed; 4]));
    let count = |name: &str| journal.of(name).len();
    assert_eq!((count("root"), count("fatal"), count("sibling"), count("join")), (1, 2, 1, 1));
    let input = &journal.of("join")[0].input;
    assert_eq!((&input["root"], &input["sibling"], &input["mended"]), (&json!(1), &json!(2), &json!(true)));
}

pub async fn a_resumption_that_may_repeat_an_effect_has_to_be_allowed(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let risky = workflow("risky")
        .step(journal.step("mail", done).irreversible())
        .step(journal.step("capture", mended.answer()).irreversible())
        .then("mail", "capture")
        .then("capture", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([risky]);
    let old = failed(&world, "risky").await;
    mended.mend();
    let refused = world.resume_run(old).await.unwrap_err();
    let ResumeError::UnsafeResume { steps, .. } = refused else { panic!("{refused}") };
    assert_eq!(steps.iter().map(|step| step.as_str()).collect::<Vec<_>>(), ["capture"], "mail is not sent again");
    let run = world.resume_run(old).allow_irreversible().await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["mail", "capture", "capture"]);
}

pub async fn what_was_compensated_is_not_built_on(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
        Ok(())
    }
    let sold = workflow("sold")
        .step(journal.step("reserve", done).compensate(undo))
        .step(journal.step("ship", mended.answer()))
        .then("reserve", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([sold]);
    let old = failed(&world, "sold").await;
    let refused = world.resume_run(old).allow_irreversible().await.unwrap_err();
    assert!(
        matches!(&refused, ResumeError::Unresumable(Unresumable::Compensated { steps, .. }) if steps.len() == 1),
        "{refused}"
    );
    assert!(world.replay_run(old).await.is_ok(), "it can be done anew");
}

pub async fn only_a_failed_run_of_a_known_version_is_resumed(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended), chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let refused = world.resume_run(run.id).await.unwrap_err();
    assert!(matches!(refused, ResumeError::Unresumable(Unresumable::NotFailed { .. })), "{refused}");
    world.settle(run.id).await;
    assert!(world.resume_run(run.id).await.is_err(), "a completed run has nothing left");
    let unknown = RunId::from_uuid(uuid::Uuid::nil());
    assert!(matches!(world.resume_run(unknown).await, Err(ResumeError::NotFound(found)) if found.run == unknown));
    let old = failed(&world, "fragile").await;
    let outsider = backend.world([]);
    let refused = outsider.resume_run(old).await.unwrap_err();
    assert!(matches!(refused, ResumeError::NotRegistered { .. }), "{refused}");
}

pub async fn a_failed_run_continues_once_however_often_it_is_resumed(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    let old = failed(&world, "fragile").await;
    mended.mend();
    let resumptions = (0..8).map(|_| {
        let mesh = world.mesh.clone();
        tokio::spawn(async move { mesh.resume_run(old).await.unwrap().id })
    });
    let mut ids = Vec::new();
    for resumption in resumptions.collect::<Vec<_>>() {
        ids.push(resumption.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    world.settle(ids[0]).await;
    assert_eq!(journal.of("two").len(), 2);
    assert_eq!(world.resume_run(old).await.unwrap().id, ids[0], "also when it has reached its end");
    assert_eq!(journal.of("two").len(), 2);
}

fn of(name: &str) -> RunFilter {
    RunFilter::new().workflow(WorkflowName::new(name).unwrap())
}

async fn several_failed(backend: &Backend, world: &World, count: usize) -> Vec<RunId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.start_run("fragile", &nothing()).await.unwrap().id);
        backend.pass(ms(2)).await; // ids sort by time, to the millisecond
    }
    world.settle_all(ids.iter().copied()).await;
    ids.reverse();
    ids
}

pub async fn a_dry_run_of_a_bulk_replay_stores_nothing(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let lasting = workflow("fragile2").step(journal.step("mail", done).irreversible()).then("mail", COMPLETE).build();
    let world = backend.world([fragile(&journal, &mended), lasting.unwrap(), chain("chain", &journal, &["one"])]);
    let failed = several_failed(backend, &world, 2).await;
    let mailed = world.start_run("fragile2", &nothing()).await.unwrap().id;
    world.settle(mailed).await;
    let open = world.start_run("chain", &nothing()).await.unwrap().id;
    let report = world.replay_runs(RunFilter::new()).dry_run().await.unwrap();
    assert!(report.next.is_none());
    let outcome = |id| &report.runs.iter().find(|run| run.id == id).expect("it is listed").outcome;
    assert!(failed.iter().all(|id| matches!(outcome(*id), BulkOutcome::WouldStart)));
    assert!(matches!(outcome(mailed), BulkOutcome::Refused(ReplayError::UnsafeReplay { .. })));
    assert!(matches!(outcome(open), BulkOutcome::Refused(ReplayError::NotEnded { .. })));
    let resumable = world.resume_runs(RunFilter::new()).dry_run().await.unwrap();
    let would = resumable.runs.iter().filter(|run| matches!(run.outcome, BulkOutcome::WouldStart));
    assert_eq!(would.map(|run| run.id).collect::<Vec<_>>(), failed);
    assert_eq!(world.list_runs(&RunFilter::new()).await.unwrap().runs.len(), 4, "nothing is stored");
}

pub async fn a_bulk_replay_under_a_key_replays_each_run_once(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    let failed = several_failed(backend, &world, 5).await;
    mended.mend();
    let mut started = Vec::new();
    for _ in 0..2 {
        let (mut filter, mut seen, mut from) = (of("fragile").limit(2), Vec::new(), Vec::new());
        loop {
            let page = world.replay_runs(filter.clone()).batch_key("outage").actor("ada").await.unwrap();
            assert!(page.runs.len() <= 2);
            for run in page.runs {
                let BulkOutcome::Started(new) = run.outcome else { panic!("{run:?}") };
                from.push(run.id);
                seen.push(new.id);
                assert_eq!(new.replayed_from, Some(run.id));
            }
            match page.next {
                Some(next) => filter = filter.after(next),
                None => break,
            }
        }
        assert_eq!(from, failed, "newest first, and without what the batch itself has started");
        started.push(seen);
    }
    assert_eq!(started[0], started[1], "the second time finds what the first time started");
    let details = world.settle_all(started.remove(0)).await;
    assert!(details.iter().all(|details| details.run.status == RunStatus::Completed));
    assert_eq!(details[0].audit[0].actor.as_deref(), Some("ada"));
}

pub async fn a_bulk_resumption_resumes_each_run_once(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    several_failed(backend, &world, 3).await;
    mended.mend();
    let resume = async || {
        let page = world.resume_runs(of("fragile").status(RunStatus::Failed)).await.unwrap();
        let ids = page.runs.iter().map(|run| match &run.outcome {
            BulkOutcome::Started(new) => new.id,
            other => panic!("{other:?}"),
        });
        ids.collect::<Vec<_>>()
    };
    let ids = resume().await;
    assert_eq!(resume().await, ids, "the second time finds what the first time started");
    let details = world.settle_all(ids).await;
    assert!(details.iter().all(|details| details.run.status == RunStatus::Completed));
    assert_eq!((journal.of("one").len(), journal.of("two").len()), (3, 6));
}

pub async fn a_used_up_step_is_tried_as_often_again_in_the_resumed_run(backend: &Backend) {
    let journal = Journal::new();
    let stubborn = workflow("stubborn")
        .step(journal.step("one", |_| Err(StepError::retryable("no"))).retry(Retry::fixed(2, ms(1))))
        .then("one", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([stubborn]);
    let old = failed(&world, "stubborn").await;
    let run = world.resume_run(old).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Failed, vec!["failed", "failed"]));
}

pub async fn batches_whose_keys_begin_alike_do_not_meet(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    several_failed(backend, &world, 1).await;
    let unsound = world.replay_runs(of("fragile")).batch_key("").await;
    assert!(matches!(unsound, Err(BulkError::InvalidKey)));
    let first = world.replay_runs(of("fragile")).batch_key("a:b").await.unwrap();
    let BulkOutcome::Started(again) = &first.runs[0].outcome else { panic!("{first:?}") };
    world.settle(again.id).await;
    let other = world.replay_runs(of("fragile")).batch_key("a").dry_run().await.unwrap();
    assert_eq!(other.runs.len(), 2, "what another batch has started is a run like any other: {other:?}");
    let same = world.replay_runs(of("fragile")).batch_key("a:b").dry_run().await.unwrap();
    assert_eq!(same.runs.len(), 1, "what it has started itself is left alone: {same:?}");
}

pub async fn who_repeats_a_run_has_limits_too(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let world = backend.world([fragile(&journal, &mended)]);
    let old = failed(&world, "fragile").await;
    let refused = world.replay_run(old).actor("a\0da").await.unwrap_err();
    assert!(matches!(refused, ReplayError::Actor(InvalidActor::Unacceptable(_))), "{refused}");
    let refused = world.resume_run(old).actor("x".repeat(2 << 20)).await.unwrap_err();
    assert!(matches!(refused, ResumeError::Actor(InvalidActor::Unacceptable(_))), "{refused}");
    let page = world.resume_runs(of("fragile")).actor("a\0da").await.unwrap();
    assert!(matches!(page.runs[0].outcome, BulkOutcome::Refused(ResumeError::Actor(InvalidActor::Unacceptable(_)))));
    assert_eq!(world.list_runs(&of("fragile")).await.unwrap().runs.len(), 1, "nothing is stored");
}

pub async fn in_a_batch_only_the_refused_run_is_left_out(backend: &Backend) {
    let (journal, mended) = (Journal::new(), Mended::default());
    let lost = workflow("fragile")
        .step(journal.step("begin", done))
        .step(journal.step("only", mended.answer()).queue("nowhere"))
        .step(journal.step("other", mended.answer()))
        .step(journal.step("end", done).after(["only", "other"]))
        .build()
        .unwrap();
    let fine = workflow("fine").step(journal.step("only", mended.answer())).then("only", COMPLETE).build().unwrap();
    let world = backend.world([lost, fine]);
    let (refused, resumed) = (failed(&world, "fragile").await, failed(&world, "fine").await);
    world.executor.behave(crate::Behavior::Refuses(squidmesh_core::definition::QueueName::new("nowhere").unwrap()));
    mended.mend();
    let page = world.resume_runs(RunFilter::new().status(RunStatus::Failed)).await.unwrap();
    for run in &page.runs {
        match &run.outcome {
            BulkOutcome::Started(started) if run.id == resumed => assert_eq!(started.resumed_from, Some(resumed)),
            BulkOutcome::Refused(ResumeError::Start(StartError::Refused(error))) if run.id == refused => {
                assert_eq!(error.refused_step().unwrap().as_str(), "only");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(page.runs.len(), 2);
}
