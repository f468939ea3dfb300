//! Steps that wait for a person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use squidmesh_core::command::{CommandError, CommandRefused, DeliveryOutcome, InvalidActor};
use squidmesh_core::definition::QueueName;
use squidmesh_core::inspect::{EdgeKind, StepState};
use squidmesh_core::run::AuditKind;
use squidmesh_core::{COMPLETE, Run, RunStatus, Step, Workflow, approval, hours, ms, pause};

use super::{done, nothing, workflow};
use crate::world::{attempts, states, step};
use crate::{Backend, Behavior, Journal, World};

fn asking(journal: &Arc<Journal>) -> Workflow {
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

pub async fn an_approval_waits_and_takes_the_way_of_the_verdict(backend: &Backend) {
    for approve in [true, false] {
        let journal = Journal::new();
        let world = backend.world([asking(&journal)]);
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
        assert!(matches!(second, Err(CommandError::Refused(CommandRefused::InvalidTransition(_)))), "{second:?}");
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

pub async fn a_pause_ends_when_it_is_unblocked(backend: &Backend) {
    let journal = Journal::new();
    let holding = workflow("holding")
        .step(Step::new("hold", pause()))
        .step(journal.step("next", done))
        .then("hold", "next")
        .then("next", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([holding]);
    let run = world.start_run("holding", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Paused);
    assert!(matches!(
        world.approve_run(run.id).actor("ada").await,
        Err(CommandError::Refused(CommandRefused::OtherDecision { .. }))
    ));
    world.unblock_run(run.id).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_decision_needs_an_actor_and_a_paused_run(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking(&journal)]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    assert!(matches!(
        world.approve_run(run.id).actor("ada").await,
        Err(CommandError::Refused(CommandRefused::InvalidTransition(_)))
    ));
    world.settle(run.id).await;
    assert!(matches!(world.approve_run(run.id).await, Err(CommandError::Actor(InvalidActor::Missing))));
    assert!(matches!(world.approve_run(run.id).actor("").await, Err(CommandError::Actor(InvalidActor::Missing))));
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
}

/// ask (with this deadline) → yes, on error → no; only a deadline leads to late.
fn asking_until(journal: &Arc<Journal>, after: Duration, named: bool) -> Workflow {
    let ask = approval().deadline(after);
    let ask = Step::new("ask", if named { ask.then_to("late") } else { ask }).output("answer");
    let asking = workflow("asking")
        .step(ask)
        .step(journal.step("yes", done))
        .step(journal.step("no", done))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE);
    match named {
        true => asking.step(journal.step("late", done)).then("late", COMPLETE).build().unwrap(),
        false => asking.build().unwrap(),
    }
}

/// Starts a run and delivers its first step by hand, so that no time passes.
async fn paused(world: &World, name: &str) -> Run {
    let run = world.start_run(name, &nothing()).await.unwrap();
    let claim = world.runner().claim(1).await.unwrap().claims.remove(0);
    world.runner().deliver(claim).await;
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
    run
}

pub async fn an_approval_that_expires_takes_its_error_route(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, ms(100), false)]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["no".to_owned()]));
    let answer = &details.context["answer"];
    assert_eq!(answer.as_object().unwrap().len(), 2, "the decision and the time: {answer}");
    assert_eq!(answer["decision"], json!("expired"));
    let kinds: Vec<_> = details.audit.iter().map(|entry| (entry.kind, entry.actor.as_deref())).collect();
    assert_eq!(kinds, [(AuditKind::Paused, None), (AuditKind::Expired, None)]);
    let asked = step(&details, "ask").run.as_ref().unwrap();
    let waited = asked.finished_at.unwrap().since(asked.started_at.unwrap());
    assert!(waited >= ms(95), "not before its time: {waited:?}");
    assert_eq!(attempts(&details, "ask"), ["completed"]);
}

pub async fn a_deadline_may_lead_to_a_step_of_its_own(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, ms(50), true)]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["late".to_owned()]));
    let taken: Vec<_> = world.graph(run.id).await.unwrap().edges.into_iter().filter(|edge| edge.taken).collect();
    let taken: Vec<_> = taken.iter().map(|edge| (edge.from.as_str(), edge.kind)).collect();
    assert_eq!(taken, [("late", EdgeKind::Ok), ("ask", EdgeKind::Deadline)]);
}

pub async fn a_decision_in_time_ends_the_deadline(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, hours(48), true)]);
    let run = paused(&world, "asking").await;
    let explained = world.explain_run(run.id).await.unwrap();
    let until = explained.at.expect("the deadline").since(run.created_at);
    assert!(until >= hours(48) && until < hours(49), "{until:?}");
    world.approve_run(run.id).actor("ada").await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["yes".to_owned()]));
    assert!(details.intents.is_empty());
}

pub async fn a_waiting_approval_needs_no_delivery_until_its_deadline(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, hours(48), true)]);
    let run = paused(&world, "asking").await;
    let found = world.runner().claim(10).await.unwrap();
    assert!(found.claims.is_empty());
    assert!(found.next_in.unwrap() > hours(47), "{:?}", found.next_in);
    assert_eq!(world.look(run.id).await.intents.iter().filter(|intent| intent.lease.is_some()).count(), 0);
}

pub async fn a_cancelled_approval_forgets_its_deadline(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, ms(50), true)]);
    let run = paused(&world, "asking").await;
    world.cancel_run(run.id).await.unwrap();
    assert!(world.look(run.id).await.intents.is_empty());
    backend.pass(ms(60)).await;
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Cancelled);
    assert!(journal.steps().is_empty());
}

pub async fn a_deadline_outlives_the_process_that_set_it(backend: &Backend) {
    let journal = Journal::new();
    let first = backend.world([asking_until(&journal, ms(100), true)]);
    let run = paused(&first, "asking").await;
    drop(first);
    let second = backend.world([asking_until(&journal, ms(100), true)]);
    assert_eq!(second.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["late"]);
}

pub async fn a_late_decision_counts_until_the_expiry_is_committed(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_until(&journal, ms(30), true)]);
    let run = paused(&world, "asking").await;
    backend.pass(ms(40)).await;
    let claim = world.runner().claim(1).await.unwrap().claims.remove(0); // it is due and about to expire
    world.approve_run(run.id).actor("ada").await.unwrap();
    let delivery = world.runner().deliver(claim).await;
    assert!(matches!(delivery, DeliveryOutcome::Ignored(_)), "{delivery:?}");
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["yes"]);
}

pub async fn a_decision_is_the_output_of_its_step(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking(&journal)]);
    let run = paused(&world, "asking").await;
    let metadata = Map::from_iter([("ticket".to_owned(), json!(7))]);
    world.reject_run(run.id).actor("ada").comment("too dear").metadata(metadata.clone()).await.unwrap();
    let details = world.settle(run.id).await;
    let answer = &details.context["answer"];
    assert_eq!((&answer["decision"], &answer["actor"]), (&json!("rejected"), &json!("ada")));
    assert_eq!((&answer["comment"], &answer["metadata"]), (&json!("too dear"), &json!({"ticket": 7})));
    let manual = step(&details, "ask").run.as_ref().unwrap().manual.clone().unwrap();
    assert_eq!(answer["at"], json!(manual.at));
    assert_eq!((manual.decision.as_str(), manual.metadata), ("rejected", Some(metadata)));
    assert_eq!(journal.of("no")[0].input["answer"]["comment"], json!("too dear"), "the next step sees it");
}

pub async fn of_many_decisions_at_once_one_counts(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking(&journal)]);
    let run = paused(&world, "asking").await;
    let decisions = (0..12).map(|place| {
        let mesh = world.mesh.clone();
        tokio::spawn(async move {
            match place % 3 {
                0 => mesh.approve_run(run.id).actor(format!("a{place}")).await,
                1 => mesh.reject_run(run.id).actor(format!("a{place}")).await,
                _ => mesh.cancel_run(run.id).actor(format!("a{place}")).await,
            }
        })
    });
    let mut winners = 0;
    for decision in decisions.collect::<Vec<_>>() {
        match decision.await.unwrap() {
            Ok(_) => winners += 1,
            Err(CommandError::Refused(CommandRefused::InvalidTransition(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let details = world.settle(run.id).await;
    // A cancellation may follow a decision, as long as the run has not ended.
    let decided = details.audit.iter().filter(|entry| matches!(entry.kind, AuditKind::Approved | AuditKind::Rejected));
    assert!(decided.count() <= 1);
    assert_eq!(details.audit.len(), 1 + winners, "the losers leave no trace");
}

pub async fn every_act_of_a_person_is_on_the_audit_trail_in_order(backend: &Backend) {
    let journal = Journal::new();
    let held = workflow("held")
        .step(Step::new("hold", pause()))
        .step(Step::new("ask", approval()))
        .step(Step::new("again", pause()))
        .then("hold", "ask")
        .then("ask", "again")
        .on_error("ask", COMPLETE)
        .then("again", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([held, asking(&journal)]);
    let run = world.start_run("held", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let metadata = Map::from_iter([("n".to_owned(), json!(1))]);
    world.unblock_run(run.id).actor("ada").comment("go").metadata(metadata.clone()).await.unwrap();
    world.settle(run.id).await;
    world.approve_run(run.id).actor("bob").await.unwrap();
    world.settle(run.id).await;
    world.cancel_run(run.id).actor("eve").comment("enough").await.unwrap();
    let trail = world.look(run.id).await.audit;
    let audited = trail.iter().map(|entry| {
        let step = entry.step.as_ref().map(|step| step.as_str());
        (entry.kind.as_str(), step, entry.actor.as_deref())
    });
    let expected = [
        ("paused", Some("hold"), None),
        ("unblocked", Some("hold"), Some("ada")),
        ("paused", Some("ask"), None),
        ("approved", Some("ask"), Some("bob")),
        ("paused", Some("again"), None),
        ("cancelled", None, Some("eve")),
    ];
    assert_eq!(audited.collect::<Vec<_>>(), expected);
    assert_eq!((trail[1].comment.as_deref(), trail[1].metadata.as_ref()), (Some("go"), Some(&metadata)));
    let replay = world.replay_run(run.id).actor("ada").await.unwrap();
    let first = &world.look(replay.id).await.audit[0];
    assert_eq!((first.kind, first.actor.as_deref()), (AuditKind::Replayed, Some("ada")));
}

pub async fn what_resuming_means_is_fixed_when_the_run_pauses(backend: &Backend) {
    let journal = Journal::new();
    let old = workflow("holding")
        .step(Step::new("hold", pause()).output("old"))
        .step(journal.step("old", done))
        .step(journal.step("new", done))
        .then("hold", "old")
        .then("old", "new")
        .then("new", COMPLETE)
        .build()
        .unwrap();
    let new = workflow("holding")
        .step(Step::new("hold", pause()).output("new"))
        .step(journal.step("new", done))
        .then("hold", "new")
        .then("new", COMPLETE)
        .build()
        .unwrap();
    let before = backend.world([old.clone()]);
    let run = paused(&before, "holding").await;
    drop(before);
    let after = backend.world([old, new]); // the deploy: new runs start on the new version
    after.unblock_run(run.id).await.unwrap();
    let details = after.settle(run.id).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["old".to_owned(), "new".to_owned()]));
    assert!(details.context.contains_key("old"), "the output goes where it was to go");
}

pub async fn a_decision_may_name_its_step_and_counts_for_no_other(backend: &Backend) {
    let twice = workflow("twice")
        .step(Step::new("manager", approval()))
        .step(Step::new("director", approval()))
        .then("manager", "director")
        .then("director", COMPLETE)
        .on_error("manager", COMPLETE)
        .on_error("director", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([twice]);
    let run = world.start_run("twice", &nothing()).await.unwrap();
    world.settle(run.id).await;
    world.approve_run(run.id).actor("ada").step("manager").await.unwrap();
    world.settle(run.id).await;
    let clicked_twice = world.approve_run(run.id).actor("ada").step("manager").await;
    assert!(
        matches!(&clicked_twice, Err(CommandError::Refused(CommandRefused::OtherStep { waits, .. })) if waits.as_str() == "director")
    );
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
    let done = world.approve_run(run.id).actor("bob").step("director").await.unwrap();
    assert_eq!(done.status, RunStatus::Completed);
}

pub async fn a_decision_beyond_the_limits_as_a_whole_decides_nothing(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking(&journal)]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let half = "x".repeat(700 << 10);
    let refused = world.approve_run(run.id).actor(&half).comment(&half).await;
    assert!(matches!(refused, Err(CommandError::Refused(CommandRefused::Unacceptable { .. }))), "{refused:?}");
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
    world.approve_run(run.id).actor("ada").await.unwrap();
}

pub async fn a_second_decision_is_answered_with_the_first(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking(&journal)]);
    let run = paused(&world, "asking").await;
    world.approve_run(run.id).actor("ada").await.unwrap();
    for status in ["running", "completed"] {
        for second in
            [world.approve_run(run.id).actor("bob").await, world.reject_run(run.id).actor("bob").step("ask").await]
        {
            let Err(CommandError::Refused(CommandRefused::InvalidTransition(error))) = second else {
                panic!("{second:?}")
            };
            let first = error.decided.as_ref().unwrap();
            assert_eq!(
                (first.step.as_str(), first.decision.as_str(), first.actor.as_deref()),
                ("ask", "approved", Some("ada"))
            );
            let expected =
                format!("step ask was approved by ada at {}: a {status} run cannot become running", first.at);
            assert_eq!(error.to_string(), expected);
        }
        world.settle(run.id).await;
    }
}

pub async fn a_decision_about_a_step_of_the_past_says_what_was_decided(backend: &Backend) {
    let twice = workflow("twice")
        .step(Step::new("first", approval()).output("first"))
        .step(Step::new("second", approval()).output("second"))
        .then("first", "second")
        .on_error("first", COMPLETE)
        .then("second", COMPLETE)
        .on_error("second", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([twice]);
    let run = world.start_run("twice", &nothing()).await.unwrap();
    world.settle(run.id).await;
    world.approve_run(run.id).actor("ada").step("first").await.unwrap();
    world.settle(run.id).await;
    let late = world.reject_run(run.id).actor("bob").step("first").await.unwrap_err();
    let message = late.to_string();
    assert!(
        message.starts_with("step second waits for a person, not step \"first\": step first was approved by ada at "),
        "{message}"
    );
}

pub async fn a_decision_without_room_in_the_context_decides_nothing(backend: &Backend) {
    let journal = Journal::new();
    let asking = workflow("full")
        .step(journal.step("gives", |_| Ok(json!("x".repeat(900)))).output("given"))
        .step(Step::new("ask", approval()).output("answer"))
        .then("gives", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world_with([asking], |builder| {
        builder.configure(|config| (config.json.max_bytes, config.max_context_bytes) = (1_200, 1_500))
    });
    let run = world.start_run("full", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Paused);
    let long = world.approve_run(run.id).actor("ada").comment("y".repeat(700)).await;
    assert!(
        matches!(long, Err(CommandError::Refused(CommandRefused::ContextTooLarge { limit: 1_500, .. }))),
        "{long:?}"
    );
    assert_eq!(world.status(run.id).await, RunStatus::Paused);
    world.approve_run(run.id).actor("ada").comment("fine").await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

/// Like `asking`, with the next steps in a queue that the executor may not have.
fn asking_elsewhere(journal: &Arc<Journal>) -> Workflow {
    workflow("elsewhere")
        .step(Step::new("ask", approval()).output("answer"))
        .step(journal.step("yes", done).queue("nowhere"))
        .then("ask", "yes")
        .on_error("ask", "yes")
        .then("yes", COMPLETE)
        .build()
        .unwrap()
}

pub async fn a_decision_whose_successor_is_refused_leaves_the_run_paused(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_elsewhere(&journal)]);
    let run = world.start_run("elsewhere", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let before = world.look(run.id).await;
    world.sink.take();
    for behavior in
        [Behavior::Refuses(QueueName::new("nowhere").unwrap()), Behavior::Panics, Behavior::AnswersForTooFew]
    {
        world.executor.behave(behavior.clone());
        for refused in [world.approve_run(run.id).actor("ada").await, world.reject_run(run.id).actor("ada").await] {
            let Err(CommandError::Refused(error @ CommandRefused::ByExecutor { .. })) = refused else {
                panic!("{behavior:?}: {refused:?}")
            };
            assert!(error.to_string().contains("/yes"), "the refused step is named: {error}");
        }
        assert_eq!(world.look(run.id).await, before, "{behavior:?}");
        assert!(world.sink.take().is_empty(), "{behavior:?}");
    }
    world.executor.behave(Behavior::Fine);
    world.approve_run(run.id).actor("ada").await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["yes"]);
}

pub async fn a_decision_is_committed_while_the_executor_is_down(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([asking_elsewhere(&journal)]);
    let run = world.start_run("elsewhere", &nothing()).await.unwrap();
    world.settle(run.id).await;
    world.executor.behave(Behavior::Unavailable);
    world.approve_run(run.id).actor("ada").await.unwrap();
    world.executor.behave(Behavior::Fine);
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}
