//! Several versions of a workflow, and processes that know only some of them.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::ConnectionTrait;
use serde_json::json;
use squidmesh_core::command::{
    CommandError, CommandRefused, ConfigError, DeliveryOutcome, ResumeError, SquidmeshBuilder, Unresumable,
};
use squidmesh_core::definition::StepName;
use squidmesh_core::deploy::{Difference, compare_with_live_runs};
use squidmesh_core::event::{EventKind, IgnoreReason};
use squidmesh_core::inspect::{NextAction, Reason};
use squidmesh_core::run::{AuditKind, RunSummary};
use squidmesh_core::{COMPLETE, Retry, Run, RunStatus, Squidmesh, Step, StepError, Workflow, ms, pause};

use super::{chain, done, nothing, workflow};
use crate::world::{World, attempts};
use crate::{Backend, Gate, Journal};

/// The time after which work counts as stranded in these scenarios.
const STRANDED_AFTER: Duration = ms(20);

/// Creates a process with these versions, of which the last adopts runs.
fn adopting(backend: &Backend, versions: impl IntoIterator<Item = Workflow>) -> World {
    let versions: Vec<Workflow> = versions.into_iter().collect();
    let name = versions[0].definition().name().to_string();
    backend.world_with(versions, |builder| soon(builder).adopt(name))
}

fn soon(builder: SquidmeshBuilder) -> SquidmeshBuilder {
    builder.configure(|config| config.stranded_after = STRANDED_AFTER)
}

/// Waits until the work that is due now counts as stranded.
async fn strand(backend: &Backend) {
    backend.pass(STRANDED_AFTER + ms(5)).await;
}

fn called(journal: &Journal, run: &Run) -> Vec<String> {
    journal.calls().into_iter().filter(|call| call.run_id == run.id).map(|call| call.step).collect()
}

/// hold (pause) → first → second
fn holding(journal: &Arc<Journal>, first: &str, second: &str) -> Workflow {
    workflow("holding")
        .step(Step::new("hold", pause()))
        .step(journal.step(first, done))
        .step(journal.step(second, done))
        .then("hold", first)
        .then(first, second)
        .then(second, COMPLETE)
        .build()
        .unwrap()
}

fn longer(journal: &Arc<Journal>) -> Workflow {
    workflow("chain")
        .step(journal.step("one", done))
        .step(journal.step("added", done))
        .step(journal.step("two", done))
        .then("one", "added")
        .then("added", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap()
}

pub async fn a_run_stays_on_the_version_that_it_was_started_with(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    drop(older);
    let both = backend.world([chain("chain", &journal, &["one", "two"]), longer(&journal)]);
    let newer = both.start_run("chain", &nothing()).await.unwrap();
    assert_ne!(newer.fingerprint, run.fingerprint, "new runs start on the newest");
    both.settle_all([run.id, newer.id]).await;
    let steps =
        |id| journal.calls().into_iter().filter(|call| call.run_id == id).map(|call| call.step).collect::<Vec<_>>();
    assert_eq!(steps(run.id), ["one", "two"]);
    assert_eq!(steps(newer.id), ["one", "added", "two"]);
}

pub async fn a_version_that_is_not_here_is_left_for_a_process_that_has_it(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    let newer = backend.world([longer(&journal)]);
    let payload = json!({"kind": "step", "v": 1, "run_id": run.id, "step": "one"}).to_string();
    let delivery = newer.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Ignored(IgnoreReason::UnknownDefinition)), "{delivery:?}");
    assert_eq!(newer.ignored_deliveries(run.id), ["unknown_definition"]);
    let before = older.look(run.id).await;
    // A process with the newer version executes its own runs and leaves this one alone.
    let own = newer.start_run("chain", &nothing()).await.unwrap();
    newer.settle(own.id).await;
    assert_eq!(newer.look(run.id).await, before);
    assert_eq!(older.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(older.look(own.id).await.run.status, RunStatus::Completed);
}

pub async fn the_same_version_cannot_be_registered_twice(backend: &Backend) {
    let journal = Journal::new();
    let executor = backend.world([]).executor.clone();
    let twice = Squidmesh::builder(backend.store())
        .executor(executor)
        .workflow(chain("chain", &journal, &["one"]))
        .workflow(chain("chain", &journal, &["one"]))
        .build();
    assert!(matches!(twice, Err(ConfigError::DuplicateWorkflow { .. })));
    let none = Squidmesh::builder(backend.store()).build();
    assert!(matches!(none, Err(ConfigError::MissingExecutor)));
}

pub async fn a_run_paused_before_a_deploy_resumes_with_the_old_targets(backend: &Backend) {
    let journal = Journal::new();
    let before = backend.world([holding(&journal, "old", "new")]);
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(before.start_run("holding", &nothing()).await.unwrap());
    }
    before.settle_all(runs.iter().map(|run| run.id)).await;
    drop(before);
    // Both versions are registered: the run stays on its own.
    let both = backend.world([holding(&journal, "old", "new"), holding(&journal, "new", "old")]);
    both.unblock_run(runs[0].id).await.unwrap();
    let details = both.settle(runs[0].id).await;
    assert_eq!((details.run.status, details.run.fingerprint), (RunStatus::Completed, runs[0].fingerprint));
    assert_eq!(called(&journal, &runs[0]), ["old", "new"]);
    drop(both);
    // Only the new version is registered, in which the pause leads elsewhere, and adopts the run.
    let after = adopting(backend, [holding(&journal, "new", "old")]);
    assert_eq!(after.explain_run(runs[1].id).await.unwrap().reason, Reason::PausedForManualAction);
    after.unblock_run(runs[1].id).await.unwrap();
    strand(backend).await;
    assert_eq!(after.runner().adopt_stranded().await.unwrap(), 1);
    let details = after.settle(runs[1].id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_ne!(details.run.fingerprint, runs[1].fingerprint);
    assert_eq!(called(&journal, &runs[1]), ["old"], "where it was going to; there the new version ends");
}

pub async fn a_run_of_an_unknown_version_waits_until_it_is_back(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    drop(older);
    let other = [chain("chain", &journal, &["two", "three"])];
    let newer = backend.world_with(other, |builder| soon(builder).adopt("chain"));
    let before = newer.look(run.id).await;
    let patient = backend.world([longer(&journal)]);
    assert!(patient.stranded_runs(None).await.unwrap().runs.is_empty(), "another process may still take it");
    strand(backend).await;
    let listed = newer.stranded_runs(None).await.unwrap();
    assert_eq!((listed.runs, listed.next), (vec![RunSummary::from(&before.run)], None));
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 0);
    let explanation = newer.explain_run(run.id).await.unwrap();
    assert_eq!(explanation.reason, Reason::WaitingForDefinition);
    let missing = explanation.definition.unwrap();
    assert_eq!((missing.version, missing.adoption), (run.fingerprint, true));
    assert_eq!(missing.differences, [Difference::StepMissing { step: StepName::new("one").unwrap() }]);
    // A process with the newer version works, and leaves the run alone.
    let own = newer.start_run("chain", &nothing()).await.unwrap();
    newer.settle(own.id).await;
    assert_eq!(newer.look(run.id).await, before, "untouched");
    drop(newer);
    let back = backend.world([chain("chain", &journal, &["one", "two"])]);
    let details = back.settle(run.id).await;
    assert_eq!((details.run.status, details.run.fingerprint), (RunStatus::Completed, run.fingerprint));
    assert_eq!(called(&journal, &run), ["one", "two"]);
    assert_eq!(back.explain_run(run.id).await.unwrap().definition, None);
}

pub async fn an_adopted_run_continues_in_the_new_graph(backend: &Backend) {
    let journal = Journal::new();
    let old = workflow("chain")
        .step(journal.step("one", |_| Err(StepError::retryable("not yet"))).retry(Retry::fixed(10, ms(200))))
        .step(journal.step("two", done))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let older = backend.world([old]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    older.working(older.until(|event| matches!(event.kind, EventKind::StepRetryScheduled { .. }))).await;
    drop(older);
    let newer = adopting(backend, [longer(&journal)]);
    backend.pass(ms(200)).await;
    strand(backend).await;
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 1);
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 0);
    assert!(newer.stranded_runs(None).await.unwrap().runs.is_empty());
    let details = newer.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(details.run.fingerprint, *longer(&journal).definition().fingerprint());
    let tries = attempts(&details, "one");
    assert_eq!((tries.first(), tries.last()), (Some(&"failed"), Some(&"completed")), "its attempts are kept");
    assert_eq!(called(&journal, &run)[tries.len()..], ["added", "two"]);
    let entry = &details.audit[0];
    assert_eq!((details.audit.len(), entry.kind), (1, AuditKind::Adopted));
    let metadata = entry.metadata.as_ref().unwrap();
    assert_eq!((&metadata["from"], &metadata["to"]), (&json!(run.fingerprint), &json!(details.run.fingerprint)));
    assert!(newer.event_names(&run).contains(&"run.adopted"));
}

pub async fn a_run_is_adopted_only_where_the_host_allows_it(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    let before = older.look(run.id).await;
    drop(older);
    let newer = backend.world_with([longer(&journal)], soon);
    strand(backend).await;
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 0);
    let missing = newer.explain_run(run.id).await.unwrap().definition.unwrap();
    assert_eq!((missing.adoption, missing.differences), (false, vec![]), "it could be adopted, were it allowed");
    assert_eq!(newer.look(run.id).await, before);
    let nobody = Squidmesh::builder(backend.store()).executor(newer.executor.clone()).adopt("chain").build();
    assert!(matches!(nobody, Err(ConfigError::NothingToAdopt { .. })));
    let allowed = adopting(backend, [longer(&journal)]);
    let payload = json!({"kind": "step", "v": 1, "run_id": run.id, "step": "one"}).to_string();
    let delivery = allowed.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Done { steps: 3 }), "a delivery adopts as well: {delivery:?}");
}

pub async fn workers_adopt_by_themselves(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    drop(older);
    let newer = adopting(backend, [longer(&journal)]);
    assert_eq!(newer.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(called(&journal, &run), ["one", "added", "two"]);
}

pub async fn a_worker_that_holds_a_step_of_an_adopted_run_only_records_it(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let waits = gate.clone();
    let slow = journal.slow_step("one", move |_, _| {
        let waits = waits.clone();
        async move {
            waits.pass().await;
            Ok(json!({"by": "the older"}))
        }
    });
    let left = workflow("fan")
        .step(slow)
        .step(journal.step("side", done))
        .step(journal.step("end", done).after(["one", "side"]));
    let older = backend.world([left.build().unwrap()]);
    let newer_end = Journal::new();
    let new = workflow("fan")
        .step(newer_end.step("one", done))
        .step(newer_end.step("side", done))
        .step(newer_end.step("end", done).after(["one", "side"]))
        .step(newer_end.step("more", done).after(["end"]))
        .build()
        .unwrap();
    let newer = adopting(backend, [new]);
    let run = older.start_run("fan", &nothing()).await.unwrap();
    // The older process runs `one`; `side` is stranded, since the only free worker for it is gone.
    let runner = older.runner();
    let mut claims = runner.claim(2).await.unwrap().claims;
    claims.sort_by_key(|claim| claim.lease.key.clone());
    let side = claims.pop().unwrap();
    runner.release(vec![side]).await.unwrap();
    let one = claims.pop().unwrap();
    let working = tokio::spawn(async move { runner.deliver(one).await });
    gate.arrived(1).await;
    strand(backend).await;
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 1);
    gate.open();
    let delivery = working.await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Done { steps: 1 }), "{delivery:?}");
    let details = newer.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(details.context["by"], json!("the older"), "its outcome counts");
    assert_eq!(journal.steps(), ["one"], "and it began nothing of a graph that it does not have");
    assert_eq!(newer_end.steps(), ["side", "end", "more"]);
}

pub async fn a_claim_on_a_run_adopted_before_it_begins_is_released(backend: &Backend) {
    let journal = Journal::new();
    let older = backend.world_with([chain("chain", &journal, &["one", "two"])], |builder| {
        builder.configure(|config| {
            config.lease = ms(400);
            config.heartbeat = ms(100);
        })
    });
    let run = older.start_run("chain", &nothing()).await.unwrap();
    let newer = adopting(backend, [longer(&journal)]);
    let claim = older.runner().claim(1).await.unwrap().claims.remove(0);
    backend.pass(ms(420)).await;
    strand(backend).await;
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 1);
    let delivery = older.runner().deliver(claim).await;
    assert!(matches!(delivery, DeliveryOutcome::Ignored(IgnoreReason::UnknownDefinition)), "{delivery:?}");
    assert!(journal.calls().is_empty());
    assert_eq!(newer.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["one", "added", "two"]);
}

pub async fn two_versions_work_side_by_side(backend: &Backend) {
    let (old, new) = (Journal::new(), Journal::new());
    let older = backend.world_with([chain("chain", &old, &["one", "two"])], |builder| builder.adopt("chain"));
    let newer = backend.world_with([longer(&new)], |builder| builder.adopt("chain"));
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push((older.start_run("chain", &nothing()).await.unwrap(), &old, 2));
        runs.push((newer.start_run("chain", &nothing()).await.unwrap(), &new, 3));
    }
    let all = async || {
        for (run, ..) in &runs {
            older.rests(run.id).await;
        }
    };
    older.working(newer.working(all())).await;
    for (run, journal, steps) in &runs {
        let details = older.look(run.id).await;
        assert_eq!((details.run.status, details.run.fingerprint), (RunStatus::Completed, run.fingerprint));
        assert_eq!(called(journal, run).len(), *steps, "by the process that has its version");
        assert!(details.audit.is_empty(), "none is adopted while its version is there");
    }
}

pub async fn a_run_that_is_being_cancelled_ends_without_its_version(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let waits = gate.clone();
    let stuck = journal.slow_step("one", move |_, _| {
        let waits = waits.clone();
        async move {
            waits.pass().await;
            Ok(json!({}))
        }
    });
    let older = backend.world_with([workflow("chain").step(stuck).then("one", COMPLETE).build().unwrap()], |builder| {
        builder.configure(|config| {
            config.lease = ms(400);
            config.heartbeat = ms(100);
        })
    });
    let run = older.start_run("chain", &nothing()).await.unwrap();
    let runner = older.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let working = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    working.abort();
    let outsider = backend.world_with([], soon);
    assert_eq!(outsider.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelling);
    backend.pass(ms(420)).await;
    strand(backend).await;
    outsider.runner().adopt_stranded().await.unwrap();
    let details = outsider.look(run.id).await;
    assert_eq!(details.run.status, RunStatus::Cancelled);
    assert!(details.intents.is_empty());
    assert!(matches!(
        outsider.cancel_run(run.id).await,
        Err(CommandError::Refused(CommandRefused::InvalidTransition(_)))
    ));
}

pub async fn a_deploy_is_compared_with_the_runs_that_live(backend: &Backend) {
    let journal = Journal::new();
    let old = backend.world([chain("chain", &journal, &["one", "two"]), holding(&journal, "old", "new")]);
    let ended = old.start_run("chain", &nothing()).await.unwrap();
    let paused = old.start_run("holding", &nothing()).await.unwrap();
    old.settle_all([ended.id, paused.id]).await;
    let first = old.start_run("chain", &nothing()).await.unwrap();
    let second = backend.world([longer(&journal)]).start_run("chain", &nothing()).await.unwrap();
    let store = backend.store();

    let report = compare_with_live_runs(&*store, longer(&journal).definition()).await.unwrap();
    let counts: Vec<_> =
        report.versions.iter().map(|found| (found.version, found.same, found.adoptable, found.not_adoptable)).collect();
    let mut expected = [(first.fingerprint, false, 1, 0), (second.fingerprint, true, 1, 0)];
    expected.sort();
    assert_eq!(counts, expected);
    assert!(report.all_can_continue());

    let report =
        compare_with_live_runs(&*store, chain("chain", &journal, &["two", "three"]).definition()).await.unwrap();
    assert!(!report.all_can_continue());
    for version in &report.versions {
        assert_eq!((version.adoptable, version.not_adoptable), (0, 1));
        let expected = if version.version == first.fingerprint { first.id } else { second.id };
        assert_eq!(version.samples, [expected]);
        let missing = Difference::StepMissing { step: StepName::new("one").unwrap() };
        assert_eq!((&version.differences[0].difference, version.differences[0].runs), (&missing, 1));
    }
    let explanation = report.to_string();
    assert!(explanation.contains("there is no step one, which the run has reached (1 runs, such as"), "{explanation}");

    let renamed = holding(&journal, "renamed", "new");
    let report = compare_with_live_runs(&*store, renamed.definition()).await.unwrap();
    let (step, target) = (StepName::new("hold").unwrap(), StepName::new("old").unwrap());
    assert_eq!(report.versions[0].differences[0].difference, Difference::TargetMissing { step, target });
}

pub async fn a_failed_run_of_a_lost_version_is_resumed_if_adoptable(backend: &Backend) {
    let journal = Journal::new();
    let broken = workflow("chain")
        .step(journal.step("one", done))
        .step(journal.step("added", |_| Err(StepError::terminal("broken"))))
        .then("one", "added")
        .then("added", COMPLETE)
        .build()
        .unwrap();
    let older = backend.world([broken]);
    let old = older.start_run("chain", &nothing()).await.unwrap();
    assert_eq!(older.settle(old.id).await.run.status, RunStatus::Failed);
    drop(older);
    let strict = backend.world([longer(&journal)]);
    let refused = strict.resume_run(old.id).await.unwrap_err();
    assert!(matches!(refused, ResumeError::NotRegistered { .. }), "{refused}");
    assert!(!strict.explain_run(old.id).await.unwrap().actions.contains(&NextAction::Resume));

    let newer = adopting(backend, [longer(&journal)]);
    assert!(newer.explain_run(old.id).await.unwrap().actions.contains(&NextAction::Resume));
    let run = newer.resume_run(old.id).await.unwrap();
    assert_eq!((run.resumed_from, run.fingerprint == old.fingerprint), (Some(old.id), false));
    let details = newer.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(called(&journal, &run), ["added", "two"], "what was done stays done");
    let kinds: Vec<_> = details.audit.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [AuditKind::Resumed, AuditKind::Adopted]);

    let other = adopting(backend, [chain("chain", &journal, &["other"])]);
    let refused = other.resume_run(old.id).await.unwrap_err();
    assert!(matches!(refused, ResumeError::Unresumable(Unresumable::Differs { .. })), "{refused}");
}

pub async fn a_stranded_run_that_cannot_be_read_keeps_no_other_waiting(backend: &Backend) {
    let Some(store) = backend.database_store() else { return }; // in memory nothing is ever unreadable
    let journal = Journal::new();
    let older = backend.world([chain("chain", &journal, &["one", "two"])]);
    let bad = older.start_run("chain", &nothing()).await.unwrap();
    backend.pass(ms(2)).await; // it is the first to be looked at
    let good = older.start_run("chain", &nothing()).await.unwrap();
    drop(older);
    let spoil = format!("UPDATE squidmesh_runs SET payload = 'no' WHERE created_at < {}", good.created_at.as_millis());
    assert_eq!(store.connection().execute_unprepared(&spoil).await.unwrap().rows_affected(), 1);
    let newer = adopting(backend, [longer(&journal)]);
    strand(backend).await;
    let listed = newer.stranded_runs(None).await.unwrap().runs;
    assert_eq!(listed.iter().map(|run| run.id).collect::<Vec<_>>(), [good.id]);
    assert_eq!(newer.runner().adopt_stranded().await.unwrap(), 1);
    assert_eq!(newer.settle(good.id).await.run.status, RunStatus::Completed);
    assert!(newer.explain_run(bad.id).await.is_err());
}
