//! Error transitions.

use serde_json::json;
use squidmesh_core::definition::RecoveryRoute;
use squidmesh_core::inspect::StepState;
use squidmesh_core::run::{AuditKind, FailureKind};
use squidmesh_core::{COMPLETE, FAIL, Retry, RunStatus, Step, StepError, approval, ms};

use super::{done, nothing, workflow};
use crate::world::{states, step};
use crate::{Backend, Journal};

pub async fn an_error_transition_is_taken_after_the_last_attempt(backend: &Backend) {
    let journal = Journal::new();
    let routed = workflow("routed")
        .step(journal.step("pay", |_| Err(StepError::retryable("no"))).retry(Retry::fixed(2, ms(1))))
        .step(journal.step("ship", done))
        .step(journal.step("apologise", |_| Ok(json!({"sorry": true}))))
        .then("pay", "ship")
        .then("ship", COMPLETE)
        .on_error("pay", "apologise")
        .recovery(RecoveryRoute::Compensation)
        .then("apologise", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([routed]);
    let run = world.start_run("routed", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.steps(), ["pay", "pay", "apologise"]);
    assert_eq!((details.run.status, details.run.last_error.as_ref()), (RunStatus::Completed, None));
    assert_eq!(states(&details), [StepState::Failed, StepState::Waiting, StepState::Completed]);
    assert_eq!(step(&details, "pay").run.as_ref().unwrap().routes, [RecoveryRoute::Compensation]);
    let audit: Vec<_> = details.audit.iter().map(|entry| entry.kind).collect();
    assert_eq!(audit, [AuditKind::CompensationRouted]);
    assert!(world.event_names(&run).contains(&"run.compensation_routed"));
    assert_eq!(details.context.get("sorry"), Some(&json!(true)));
}

pub async fn an_error_may_lead_to_completion(backend: &Backend) {
    let journal = Journal::new();
    let lenient = workflow("lenient")
        .step(journal.step("optional", |_| Err(StepError::terminal("never mind"))))
        .then("optional", COMPLETE)
        .on_error("optional", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([lenient]);
    let run = world.start_run("lenient", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, states(&details)), (RunStatus::Completed, vec![StepState::Failed]));
    assert!(details.audit.is_empty(), "an unmarked route leaves no audit");
}

pub async fn a_step_that_leads_to_failure_fails_the_run_and_stays_completed(backend: &Backend) {
    let journal = Journal::new();
    let deliberate = workflow("deliberate")
        .step(journal.step("ends", |_| Ok(json!({"kept": 1}))))
        .then("ends", FAIL)
        .build()
        .unwrap();
    let world = backend.world([deliberate]);
    let run = world.start_run("deliberate", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, states(&details)[0]), (RunStatus::Failed, StepState::Completed));
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.clone(), error.step.as_ref().unwrap().as_str()), (FailureKind::FAILED, "ends"));
    assert_eq!(details.context.get("kept"), Some(&json!(1)));
    let graph = world.graph(run.id).await.unwrap();
    assert!(graph.edges.iter().any(|edge| edge.ends == Some(RunStatus::Failed) && edge.taken), "{graph:?}");
}

pub async fn a_rejection_that_leads_to_failure_fails_the_run_as_rejected(backend: &Backend) {
    let asked = workflow("asked")
        .step(Step::new("review", approval()))
        .then("review", COMPLETE)
        .on_error("review", FAIL)
        .build()
        .unwrap();
    let world = backend.world([asked]);
    let run = world.start_run("asked", &nothing()).await.unwrap();
    world.settle(run.id).await;
    world.reject_run(run.id).actor("ann").await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((details.run.status, error.kind.clone()), (RunStatus::Failed, FailureKind::REJECTED));
}
