//! Steps that wait for a person.

use serde_json::json;
use squidmesh_core::{AuditKind, COMPLETE, CommandError, RunStatus, Step, StepState, Workflow, approval, pause};

use super::{done, nothing, workflow};
use crate::world::states;
use crate::{Ground, Journal};

fn asking(journal: &std::sync::Arc<Journal>) -> Workflow {
    workflow("asking")
        .step(Step::new("ask", approval()).output("answer"))
        .step(journal.step("yes", done))
        .step(journal.step("no", done))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
}

pub async fn an_approval_waits_and_takes_the_way_of_the_verdict(ground: &Ground) {
    for approve in [true, false] {
        let journal = Journal::new();
        let world = ground.world([asking(&journal)]);
        let run = world.start_run("asking", &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        assert_eq!((details.run.status, states(&details)[0]), (RunStatus::Paused, StepState::Paused));
        assert!(details.intents.is_empty(), "no worker is held");
        let decided = if approve {
            world.approve_run(run.id).actor("ada").comment("fine").await.unwrap()
        } else {
            world.reject_run(run.id).actor("ada").comment("fine").await.unwrap()
        };
        assert_eq!(decided.status, RunStatus::Running);
        let second = world.reject_run(run.id).actor("bob").await;
        assert!(matches!(second, Err(CommandError::InvalidTransition(_))), "{second:?}");
        let details = world.settle(run.id).await;
        assert_eq!(details.run.status, RunStatus::Completed);
        assert_eq!(journal.steps(), [if approve { "yes" } else { "no" }]);
        let answer = &details.context["answer"];
        assert_eq!(answer["decision"], json!(if approve { "approved" } else { "rejected" }));
        assert_eq!((&answer["actor"], &answer["comment"]), (&json!("ada"), &json!("fine")));
        let kinds: Vec<_> = details.audit.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [AuditKind::Paused, if approve { AuditKind::Approved } else { AuditKind::Rejected }]);
    }
}

pub async fn a_pause_goes_on_when_somebody_lets_it(ground: &Ground) {
    let journal = Journal::new();
    let holding = workflow("holding")
        .step(Step::new("hold", pause()))
        .step(journal.step("next", done))
        .then("hold", "next")
        .then("next", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([holding]);
    let run = world.start_run("holding", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Paused);
    assert!(matches!(world.approve_run(run.id).actor("ada").await, Err(CommandError::OtherDecision { .. })));
    world.unblock_run(run.id).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_decision_needs_an_actor_and_a_paused_run(ground: &Ground) {
    let journal = Journal::new();
    let world = ground.world([asking(&journal)]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    assert!(matches!(world.approve_run(run.id).actor("ada").await, Err(CommandError::InvalidTransition(_))));
    world.settle(run.id).await;
    assert!(matches!(world.approve_run(run.id).await, Err(CommandError::ActorNeeded)));
    assert!(matches!(world.approve_run(run.id).actor("").await, Err(CommandError::ActorNeeded)));
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
}
