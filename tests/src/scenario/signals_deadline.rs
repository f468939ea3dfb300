//! Waits for signals that end by a deadline, and signals that come after it (SPEC 17).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use squidmesh_core::command::{DeliveryOutcome, SignalReceipt};
use squidmesh_core::event::EventKind;
use squidmesh_core::inspect::{EdgeKind, GraphEdge, Reason, StepState};
use squidmesh_core::run::{AuditKind, FailureKind};
use squidmesh_core::workflow::{BuiltIn, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, FAIL, Run, RunId, RunStatus, Step, StepContext, StepResult, Workflow, hours, ms, pause, wait_for,
};

use super::signals::{PAID, audited, buffered, named, paid, payment, received, send, waiting, waits_at};
use super::{done, nothing, workflow};
use crate::world::{World, attempts, states, step};
use crate::{Backend, Journal};

/// await_payment → ship
fn awaiting(journal: &Arc<Journal>, wait: impl Into<BuiltIn>) -> WorkflowBuilder {
    workflow("checkout")
        .signal(payment())
        .step(Step::new("await_payment", wait.into()).output("payment"))
        .step(journal.step("ship", done))
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
}

/// The same; only the deadline leads to remind.
fn reminding(journal: &Arc<Journal>, after: Duration) -> Workflow {
    awaiting(journal, wait_for(PAID).deadline(after).then_to("remind"))
        .step(journal.step("remind", done))
        .then("remind", COMPLETE)
        .build()
        .unwrap()
}

/// A step that answers with the failure that led to it.
fn answering(name: &str) -> Step {
    Step::new(name, |_: Value, context: StepContext| async move {
        let failure = context.failure.map(|failure| json!({ "kind": failure.kind, "step": failure.step }));
        StepResult::Ok(json!({ "because": failure }))
    })
}

/// Returns the kinds of the edges that a run took, by the steps that they leave.
async fn taken(world: &World, run: RunId) -> Vec<(String, EdgeKind)> {
    let edges = world.graph(run).await.unwrap().edges;
    let mut taken: Vec<_> =
        edges.iter().filter(|edge| edge.taken).map(|edge| (edge.from.to_string(), edge.kind)).collect();
    taken.sort_by(|one, other| one.0.cmp(&other.0));
    taken
}

async fn started(world: &World) -> Run {
    world.start_run("checkout", &nothing()).await.unwrap()
}

pub async fn a_wait_that_expires_fails_its_run_with_the_kind_expired(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal, wait_for(PAID).deadline(ms(100))).build().unwrap()]);
    let run = started(&world).await;
    let details = world.settle(run.id).await;
    let error = details.run.last_error.clone().unwrap();
    assert_eq!((details.run.status, error.kind), (RunStatus::Failed, FailureKind::EXPIRED));
    assert_eq!((named(&error.step), error.message.contains(PAID)), (Some("await_payment"), true), "{}", error.message);
    assert_eq!((states(&details)[0], attempts(&details, "await_payment")), (StepState::Failed, vec!["failed"]));
    let waited = step(&details, "await_payment").run.as_ref().unwrap();
    let waited = waited.finished_at.unwrap().since(waited.started_at.unwrap());
    assert!(waited >= ms(95), "not before its time: {waited:?}");
    assert_eq!(audited(&details), [AuditKind::Expired]);
    assert_eq!((named(&details.audit[0].step), &details.audit[0].actor), (Some("await_payment"), &None));
    let is_final = |kind: &EventKind| matches!(kind, EventKind::StepFailed { is_final: true, .. });
    assert!(world.sink.of_run(run.id).iter().any(|event| is_final(&event.kind)), "nothing takes the failure");
    assert_eq!(world.explain_run(run.id).await.unwrap().reason, Reason::StepFailed);
    assert_eq!(journal.steps(), [""; 0]);
}

pub async fn a_wait_that_expires_takes_its_error_route(backend: &Backend) {
    let journal = Journal::new();
    let expiring =
        || awaiting(&journal, wait_for(PAID).deadline(ms(50))).step(answering("apologise")).then("apologise", COMPLETE);
    let because = json!({ "kind": "expired", "step": "await_payment" });
    for (declared, label) in [
        (expiring().on_error("await_payment", "apologise"), None),
        (
            expiring().on_error_kind("await_payment", "expired", "apologise").on_error("await_payment", FAIL),
            Some("kind expired"),
        ),
    ] {
        let world = backend.world([declared.build().unwrap()]);
        let run = started(&world).await.id;
        let details = world.settle(run).await;
        assert_eq!((details.run.status, &details.context["because"]), (RunStatus::Completed, &because));
        assert_eq!((details.run.last_error.as_ref(), details.context.get("payment")), (None, None));
        assert_eq!((states(&details)[0], audited(&details)), (StepState::Failed, vec![AuditKind::Expired]));
        assert_eq!(
            taken(&world, run).await,
            [("apologise".to_owned(), EdgeKind::Ok), ("await_payment".to_owned(), EdgeKind::Error)]
        );
        let edges = world.graph(run).await.unwrap().edges;
        let edge = edges.iter().find(|edge| edge.taken && edge.from.as_str() == "await_payment").unwrap();
        assert_eq!(edge.guard.as_ref().map(ToString::to_string).as_deref(), label);
        let is_final = |kind: &EventKind| matches!(kind, EventKind::StepFailed { is_final: true, .. });
        assert!(!world.sink.of_run(run).iter().any(|event| is_final(&event.kind)), "a route takes the failure");
    }
    assert_eq!(journal.steps(), [""; 0]);
}

pub async fn the_deadline_of_a_wait_may_lead_to_a_step_of_its_own(backend: &Backend) {
    let journal = Journal::new();
    let wait = || wait_for(PAID).deadline(ms(50)).then_to("remind");
    let plain = || awaiting(&journal, wait()).step(answering("remind")).then("remind", COMPLETE);
    // Routes of other failures stand beside the deadline, and are not its own.
    let routed =
        plain().step(answering("apologise")).then("apologise", COMPLETE).on_error("await_payment", "apologise");
    let of_a_kind = plain().step(answering("apologise")).then("apologise", COMPLETE).on_error_kind(
        "await_payment",
        "context_too_large",
        "apologise",
    );
    for (place, declared) in [plain(), routed, of_a_kind].into_iter().enumerate() {
        let world = backend.world([declared.build().unwrap()]);
        let run = started(&world).await.id;
        let drawn = world.graph(run).await.unwrap().edges;
        let is_it = |edge: &&GraphEdge| edge.kind == EdgeKind::Deadline;
        let edge = drawn.iter().find(is_it).expect("the deadline is drawn before it passes");
        assert_eq!((edge.from.as_str(), named(&edge.to), edge.taken), ("await_payment", Some("remind"), false));
        let details = world.settle(run).await;
        assert_eq!((details.run.status, details.run.last_error.as_ref()), (RunStatus::Completed, None));
        assert_eq!((states(&details)[0], audited(&details)), (StepState::Failed, vec![AuditKind::Expired]));
        assert_eq!(details.context["because"], Value::Null, "a deadline with a target of its own is no error route");
        assert_eq!(
            taken(&world, run).await,
            [("await_payment".to_owned(), EdgeKind::Deadline), ("remind".to_owned(), EdgeKind::Ok)],
            "shape {place}"
        );
    }
}

pub async fn a_signal_in_time_ends_the_deadline_of_its_wait(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([reminding(&journal, hours(72))]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let created = world.get_run(run).await.unwrap().created_at;
    let why = world.explain_run(run).await.unwrap();
    let until = why.at.expect("the deadline").since(created);
    assert!(until >= hours(72) && until < hours(73), "{until:?}");
    assert_eq!((why.reason, why.to_string().contains(", deadline ")), (Reason::WaitingForSignal, true), "{why}");
    assert_eq!(send(&world, run, 1).await, received("await_payment"));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    assert!(details.intents.is_empty());
    assert_eq!(
        taken(&world, run).await,
        [("await_payment".to_owned(), EdgeKind::Ok), ("ship".to_owned(), EdgeKind::Ok)]
    );
}

pub async fn an_early_signal_leaves_no_deadline_behind(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([reminding(&journal, ms(50))]);
    let run = started(&world).await.id;
    assert_eq!(send(&world, run, 1).await, SignalReceipt::Buffered);
    let details = world.settle(run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    backend.pass(ms(60)).await;
    assert_eq!((world.look(run).await, details.intents.len()), (details, 0));
}

pub async fn a_wait_needs_no_delivery_until_its_deadline(backend: &Backend) {
    let world = backend.world([reminding(&Journal::new(), hours(72))]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let found = world.runner().claim(10).await.unwrap();
    assert!(found.claims.is_empty());
    assert!(found.next_in.unwrap() > hours(71), "{:?}", found.next_in);
    let details = world.look(run).await;
    assert_eq!((details.run.status, details.intents.len()), (RunStatus::Running, 1), "its deadline alone");
    assert!(details.intents[0].lease.is_none());
    assert!(step(&details, "await_payment").run.as_ref().unwrap().lease.is_none());
}

pub async fn the_deadline_of_a_wait_outlives_the_process_that_set_it(backend: &Backend) {
    let journal = Journal::new();
    let first = backend.world([reminding(&journal, ms(100))]);
    let run = waiting(&first, "checkout", "await_payment").await;
    drop(first);
    let second = backend.world([reminding(&journal, ms(100))]);
    assert_eq!(second.settle(run).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["remind"]);
}

pub async fn a_signal_counts_until_the_expiry_of_its_wait_is_committed(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([reminding(&journal, ms(30))]);
    let run = waiting(&world, "checkout", "await_payment").await;
    backend.pass(ms(40)).await;
    let claim = world.runner().claim(1).await.unwrap().claims.remove(0); // it is due and about to expire
    assert_eq!(send(&world, run, 1).await, received("await_payment"));
    let delivery = world.runner().deliver(claim).await;
    assert!(matches!(delivery, DeliveryOutcome::Ignored(_)), "{delivery:?}");
    let details = world.settle(run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    assert_eq!(audited(&details), [AuditKind::SignalReceived]);
}

pub async fn a_signal_after_the_deadline_is_recorded_as_late_and_kept(backend: &Backend) {
    let late = workflow("late")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID).deadline(ms(50))).output("payment"))
        .step(Step::new("hold", pause()))
        .step(Step::new("await_again", wait_for(PAID)).output("again"))
        .then("await_payment", COMPLETE)
        .on_error("await_payment", "hold")
        .then("hold", "await_again")
        .then("await_again", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([late]);
    let run = world.start_run("late", &nothing()).await.unwrap().id;
    assert_eq!(world.settle(run).await.run.status, RunStatus::Paused);
    let answer = world.signal_run(run, PAID, &paid(8)).actor("webhook").dedup_key("evt_1").await.unwrap();
    assert_eq!(answer.receipt, SignalReceipt::Buffered, "a run that waits for a person receives signals");
    let details = world.look(run).await;
    assert_eq!(audited(&details), [AuditKind::Expired, AuditKind::Paused, AuditKind::SignalLate]);
    let entry = &details.audit[2];
    assert_eq!((entry.step.as_ref(), entry.actor.as_deref()), (None, Some("webhook")));
    let metadata = Value::from(entry.metadata.clone().unwrap());
    assert_eq!(metadata, json!({ "signal": PAID, "dedup_key": "evt_1" }));
    assert!(world.event_names(&details.run).contains(&"signal.late"));
    assert_eq!((buffered(&details), details.run.status), (vec![json!(8)], RunStatus::Paused));
    let again = world.signal_run(run, PAID, &paid(8)).dedup_key("evt_1").await.unwrap();
    assert_eq!((again.receipt, world.look(run).await), (SignalReceipt::Duplicate, details), "it is late once");
    world.unblock_run(run).await.unwrap();
    let details = world.settle(run).await;
    assert_eq!((details.run.status, &details.context["again"]["amount"]), (RunStatus::Completed, &json!(8)));
    assert_eq!(details.context.get("payment"), None);
}

pub async fn a_signal_in_time_for_a_second_wait_is_not_late(backend: &Backend) {
    let journal = Journal::new();
    let twice = awaiting(&journal, wait_for(PAID).deadline(ms(50)).then_to("await_again"))
        .step(Step::new("await_again", wait_for(PAID)).output("payment"))
        .then("await_again", "ship")
        .build()
        .unwrap();
    let world = backend.world([twice]);
    let run = waiting(&world, "checkout", "await_payment").await;
    backend.pass(ms(60)).await;
    waits_at(&world, run, "await_again").await;
    assert_eq!(send(&world, run, 1).await, received("await_again"));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    assert_eq!(audited(&details), [AuditKind::Expired, AuditKind::SignalReceived], "a step was waiting for it");
}

pub async fn a_redelivered_deadline_does_nothing(backend: &Backend) {
    let journal = Journal::new();
    let held = awaiting(&journal, wait_for(PAID).deadline(ms(500)).then_to("hold"))
        .step(Step::new("hold", wait_for(PAID).deadline(hours(1)).then_to("remind")))
        .step(journal.step("remind", done))
        .then("hold", "ship")
        .then("remind", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([held]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let timer = json!({ "kind": "step", "v": 1, "run_id": run, "step": "await_payment" }).to_string();
    let deliver = async || {
        let delivery = world.runner().perform(timer.as_bytes()).await.unwrap();
        matches!(delivery, DeliveryOutcome::Ignored(_))
    };
    let before = world.look(run).await;
    assert!(deliver().await, "before its time");
    assert_eq!(world.look(run).await, before);
    backend.pass(ms(520)).await;
    waits_at(&world, run, "hold").await;
    let before = world.look(run).await;
    assert!(deliver().await, "after the expiry");
    assert_eq!(world.look(run).await, before);
    assert_eq!(send(&world, run, 1).await, received("hold"));
    assert_eq!((world.settle(run).await.run.status, deliver().await), (RunStatus::Completed, true));
    assert_eq!(journal.steps(), ["ship"]);
}

pub async fn a_cancellation_ends_a_wait_and_its_deadline(backend: &Backend) {
    let journal = Journal::new();
    let patient = awaiting(&journal, wait_for(PAID)).build().unwrap();
    for declared in [reminding(&journal, ms(50)), patient] {
        let world = backend.world([declared]);
        let run = waiting(&world, "checkout", "await_payment").await;
        assert_eq!(world.cancel_run(run).actor("cat").await.unwrap().status, RunStatus::Cancelled);
        let details = world.look(run).await;
        assert_eq!((states(&details)[0], attempts(&details, "await_payment")), (StepState::Cancelled, vec!["failed"]));
        assert_eq!((details.intents.len(), audited(&details)), (0, vec![AuditKind::Cancelled]));
        backend.pass(ms(60)).await;
        assert!(world.runner().claim(10).await.unwrap().claims.is_empty());
        assert_eq!(world.settle(run).await, details);
    }
    assert_eq!(journal.steps(), [""; 0]);
}
