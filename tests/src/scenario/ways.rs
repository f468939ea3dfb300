//! Ways on: conditions, error kinds and routes by name.

use serde_json::{Value, json};
use squidmesh_core::inspect::StepState;
use squidmesh_core::run::FailureKind;
use squidmesh_core::workflow::Routed;
use squidmesh_core::{COMPLETE, FAIL, Run, RunStatus, Step, StepContext, StepError, StepResult, approval, not, when};

use super::{done, nothing, workflow};
use crate::world::{World, states, step};
use crate::{Backend, Journal};

async fn started(world: &World, order: Value) -> Run {
    world.start_run("ways", &json!({ "order": order })).await.unwrap()
}

/// Returns the labels of the edges that a run took.
async fn taken(world: &World, run: &Run) -> Vec<String> {
    let graph = world.graph(run.id).await.unwrap();
    let taken = graph.edges.iter().filter(|edge| edge.taken);
    taken.map(|edge| edge.guard.as_ref().map_or_else(|| "plain".to_owned(), ToString::to_string)).collect()
}

pub async fn the_first_condition_that_holds_chooses_the_next_step(backend: &Backend) {
    let journal = Journal::new();
    let declared = workflow("ways")
        .step(journal.step("assess", |_| Ok(json!({ "risk": "high" }))))
        .step(journal.step("review", done))
        .step(journal.step("ship", done))
        .then_if("assess", when("order.total").at_least(1_000).and(when("risk").is("high")), "review")
        .then_if("assess", when("order.total").at_least(1_000_000), FAIL)
        .then("assess", "ship")
        .then("review", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([declared]);
    for (total, visited, label) in [
        (json!(1_000.0), vec!["assess", "review", "ship"], r#"if order.total >= 1000 and risk is "high""#),
        (json!(999.99), vec!["assess", "ship"], "plain"),
        (json!("much"), vec!["assess", "ship"], "plain"),
    ] {
        let run = started(&world, json!({ "total": total })).await;
        let details = world.settle(run.id).await;
        assert_eq!((details.run.status, journal.steps_of(run.id) == visited), (RunStatus::Completed, true), "{total}");
        assert!(world.event_names(&run).contains(&"step.routed"));
        assert_eq!(taken(&world, &run).await[0], label);
        let stored = step(&details, "assess").run.as_ref().unwrap().taken.clone().unwrap();
        assert_eq!(stored.guard.map_or_else(|| "plain".to_owned(), |guard| guard.to_string()), label);
    }
}

pub async fn a_failure_takes_the_transition_of_its_kind(backend: &Backend) {
    let journal = Journal::new();
    let declared = workflow("ways")
        .step(journal.step("pay", |call| {
            let kind = call.input["order"]["fails"].as_str().unwrap_or_default().to_owned();
            Err(StepError::terminal("no").kind(kind))
        }))
        .step(journal.step("ask_customer", done))
        .step(journal.step("apologise", done))
        .then("pay", COMPLETE)
        .on_error_kind("pay", "declined", "ask_customer")
        .on_error("pay", "apologise")
        .then("ask_customer", COMPLETE)
        .then("apologise", FAIL)
        .build()
        .unwrap();
    let world = backend.world([declared]);
    for (kind, visited, status) in [
        ("declined", ["pay", "ask_customer"], RunStatus::Completed),
        ("expired_card", ["pay", "apologise"], RunStatus::Failed),
    ] {
        let run = started(&world, json!({ "fails": kind })).await;
        let details = world.settle(run.id).await;
        assert_eq!((details.run.status, journal.steps_of(run.id) == visited), (status, true), "{kind}");
        let error = details.run.last_error.map(|error| error.kind);
        assert_eq!(error, (status == RunStatus::Failed).then(|| kind.into()));
    }
}

/// A bank that answers by a route.
fn ask_bank() -> Step {
    Step::new("ask", |input: Value, _: StepContext| async move {
        let route = input["order"]["answer"].as_str().unwrap_or_default().to_owned();
        StepResult::Ok(Routed::to(route, json!({ "asked": true })))
    })
}

pub async fn a_handler_chooses_a_route_by_its_name(backend: &Backend) {
    let journal = Journal::new();
    let declared = workflow("ways")
        .step(ask_bank())
        .step(journal.step("retry_later", done))
        .then_named("ask", "retry_later", "retry_later")
        .then_named("ask", "give_up", COMPLETE)
        .then("ask", FAIL)
        .then("retry_later", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([declared]);
    let run = started(&world, json!({ "answer": "retry_later" })).await;
    assert_eq!(states(&world.settle(run.id).await), [StepState::Completed, StepState::Completed]);
    assert_eq!(taken(&world, &run).await, ["route retry_later", "plain"]);
    let run = started(&world, json!({ "answer": "give_up" })).await;
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(taken(&world, &run).await, ["route give_up"]);
    let run = started(&world, json!({ "answer": "nowhere" })).await;
    let details = world.settle(run.id).await;
    let error = details.run.last_error.clone().unwrap();
    assert_eq!((error.kind, states(&details)[0]), (FailureKind::UNKNOWN_ROUTE, StepState::Completed));
    assert_eq!(taken(&world, &run).await, [""; 0], "it leads nowhere");
    assert!(world.event_names(&run).contains(&"step.route_unknown"));
    assert_eq!(details.context.get("asked"), Some(&json!(true)), "the step has done its work");
}

pub async fn a_decision_chooses_by_what_was_said(backend: &Backend) {
    let journal = Journal::new();
    let declared = workflow("ways")
        .step(Step::new("review", approval()).output("review"))
        .step(journal.step("ship", done))
        .step(journal.step("insure", done))
        .then_if("review", not(when("review.comment").is_missing()).and(when("review.actor").is("ann")), "insure")
        .then("review", "ship")
        .on_error_kind("review", "rejected", FAIL)
        .on_error("review", COMPLETE)
        .then("insure", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([declared]);
    for (actor, visited) in [("ann", vec!["insure", "ship"]), ("bob", vec!["ship"])] {
        let run = world.start_run("ways", &nothing()).await.unwrap();
        world.settle(run.id).await;
        world.approve_run(run.id).actor(actor).comment("with care").await.unwrap();
        assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
        assert_eq!(journal.steps_of(run.id), visited);
    }
    let run = world.start_run("ways", &nothing()).await.unwrap();
    world.settle(run.id).await;
    world.reject_run(run.id).actor("cho").await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, taken(&world, &run).await), (RunStatus::Failed, vec!["kind rejected".to_owned()]));
}
