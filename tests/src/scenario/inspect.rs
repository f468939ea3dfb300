//! Inspecting runs.

use serde_json::json;
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::inspect::StepState;
use squidmesh_core::{COMPLETE, RunFilter, RunStatus, StepError};

use super::{chain, done, nothing, workflow};
use crate::world::step;
use crate::{Backend, Journal};

pub async fn an_inspection_shows_every_declared_step(backend: &Backend) {
    let journal = Journal::new();
    let fan = workflow("fan")
        .step(journal.step("join", done).after(["left", "right"]))
        .step(journal.step("right", |_| Err(StepError::terminal("no"))).after(["left"]))
        .step(journal.step("left", |_| Ok(json!({"x": 1}))))
        .build()
        .unwrap();
    let world = backend.world([fan]);
    let run = world.start_run("fan", &json!({"order": {"n": 1}})).await.unwrap();
    let details = world.settle(run.id).await;
    let shown: Vec<_> = details.steps.iter().map(|step| (step.name.as_str(), step.state)).collect();
    let expected = [("join", StepState::Waiting), ("right", StepState::Failed), ("left", StepState::Completed)];
    assert_eq!(shown, expected, "in the order of declaration");
    assert_eq!(step(&details, "join").after.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["left", "right"]);
    let left = step(&details, "left");
    let (attempt, stored) = (&left.attempts[0], left.run.as_ref().unwrap());
    assert!(attempt.started_at <= attempt.finished_at.unwrap());
    assert_eq!(stored.input.copy().unwrap().get("order"), Some(&json!({"n": 1})));
    assert_eq!(stored.output.as_ref().unwrap().get("x"), Some(&json!(1)));
    let right = step(&details, "right");
    assert_eq!(right.run.as_ref().unwrap().last_error, right.attempts[0].error);
    assert_eq!(details.run.last_error.as_ref().unwrap().message, right.attempts[0].error.as_ref().unwrap().message);
}

pub async fn a_process_without_the_code_can_look_and_cancel(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let done = world.start_run("chain", &nothing()).await.unwrap();
    world.settle(done.id).await;
    let open = world.start_run("chain", &nothing()).await.unwrap();

    let outsider = backend.world([]);
    assert_eq!(outsider.look(done.id).await, world.look(done.id).await);
    assert_eq!(outsider.list_runs(&RunFilter::new()).await.unwrap().runs.len(), 2);
    assert_eq!(outsider.cancel_run(open.id).await.unwrap().status, RunStatus::Cancelled);
}

pub async fn runs_are_listed_newest_first_and_page_by_page(backend: &Backend) {
    let journal = Journal::new();
    let failing = workflow("failing")
        .step(journal.step("only", |_| Err(StepError::terminal("no"))))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([chain("chain", &journal, &["one"]), failing]);
    let mut ids = Vec::new();
    for number in 0..25 {
        let name = if number % 5 == 0 { "failing" } else { "chain" };
        ids.push(world.start_run(name, &nothing()).await.unwrap().id);
        backend.pass(std::time::Duration::from_millis(2)).await; // ids sort by time, to the millisecond
    }
    world.settle_all(ids.iter().copied().take(20)).await;
    ids.reverse();

    let mut listed = Vec::new();
    let mut filter = RunFilter::new().limit(10);
    loop {
        let page = world.list_runs(&filter).await.unwrap();
        assert!(page.runs.len() <= 10);
        listed.extend(page.runs.iter().map(|run| run.id));
        match page.next {
            Some(next) => filter = filter.after(next),
            None => break,
        }
    }
    assert_eq!(listed, ids);

    let list = async |filter: RunFilter| world.list_runs(&filter).await.unwrap().runs;
    let failing = WorkflowName::new("failing").unwrap();
    assert_eq!(list(RunFilter::new().workflow(failing.clone())).await.len(), 5);
    let failed = list(RunFilter::new().status(RunStatus::Failed)).await;
    assert!(failed.len() >= 4 && failed.iter().all(|run| run.workflow == failing));
    assert!(list(RunFilter::new().workflow(failing).status(RunStatus::Completed)).await.is_empty());
    assert!(list(RunFilter::new().status(RunStatus::Paused)).await.is_empty());
    let all = list(RunFilter::new()).await;
    let (newest, oldest) = (all[0].created_at, all[24].created_at);
    assert_eq!(list(RunFilter::new().created_between(oldest, newest)).await.len(), 24, "the end is not included");
}
