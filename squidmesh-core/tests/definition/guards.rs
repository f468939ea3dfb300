//! The rules about conditions, routes and error kinds.

use squidmesh_core::definition::{DefinitionError as E, GuardProblem, TransitionOutcome};
use squidmesh_core::{
    COMPLETE, FAIL, Field, Step, StepContext, StepResult, Trigger, Workflow, approval, secs, wait, when,
};

use crate::declared::{chain, errors, only, step, text, triggered};

#[test]
fn a_choice_can_be_made() {
    use GuardProblem as P;
    let guard = |problem| E::Guard { from: text("a"), problem };
    let is_one = || when("x").is(1);
    let fork = || chain().then_if("a", is_one(), COMPLETE);
    assert!(fork().then_named("a", "later", COMPLETE).on_error_kind("a", "declined", COMPLETE).build().is_ok());
    only(
        triggered().step(step("a")).then_if("a", is_one(), COMPLETE).then_named("a", "later", COMPLETE),
        guard(P::NoOtherwise),
    );
    only(fork().then_if("a", is_one(), "b"), guard(P::Duplicate { guard: text("if x is 1") }));
    let twice = chain().then_named("a", "later", COMPLETE).then_named("a", "later", COMPLETE);
    only(twice, guard(P::Duplicate { guard: text("route later") }));
    let twice = chain().on_error_kind("a", "declined", COMPLETE).on_error_kind("a", "declined", "b");
    only(twice, guard(P::Duplicate { guard: text("kind declined") }));
    let gap = chain().then_if("a", when("x..y").exists(), COMPLETE);
    only(gap, guard(P::Incomplete { condition: text("x..y exists") }));
    for kind in ["", &"k".repeat(101)] {
        only(chain().on_error_kind("a", kind, COMPLETE), guard(P::InvalidKind));
    }
    let alike = fork().then_if("a", when(["x", "y.z"]).is(1), "b").then_if("a", when("x.y.z").is(1), "b");
    assert!(alike.build().is_ok());
    assert!(matches!(errors(chain().then_named("a", " later", COMPLETE)).as_slice(), [E::InvalidName(_)]));
    let nap = triggered().step(Step::new("a", wait(secs(1)))).then("a", COMPLETE).then_named("a", "later", COMPLETE);
    only(nap, guard(P::RouteOnBuiltIn { kind: "wait" }));
    let (from, to, on) = (text("a"), text("x"), TransitionOutcome::Ok);
    only(chain().then_if("a", is_one(), "x"), E::UnknownTransitionTarget { from, on, to, similar: None });
}

#[test]
fn a_condition_asks_for_what_there_is() {
    let nothing = |name: &str| Step::new(name, |_: serde_json::Value, _: StepContext| async { StepResult::Ok(()) });
    let builder = || {
        let trigger = Trigger::manual("go").field(Field::integer("amount"));
        Workflow::builder("w").trigger(trigger).step(nothing("a")).then("a", COMPLETE)
    };
    assert!(builder().then_if("a", when("amount").greater_than(1), FAIL).build().is_ok());
    let problem = GuardProblem::UnknownKey { key: text("amuont"), similar: Some(text("amount")) };
    only(builder().then_if("a", when("amuont").greater_than(1), FAIL), E::Guard { from: text("a"), problem });
}

#[test]
fn an_approval_ends_in_no_other_kind() {
    let builder = |kind: &str, asked: Step| {
        let asked = triggered().step(asked).step(step("b")).then("a", COMPLETE);
        asked.on_error("a", COMPLETE).on_error_kind("a", kind, "b").then("b", COMPLETE)
    };
    let plain = || Step::new("a", approval());
    let expires = || approval().deadline(secs(1));
    assert!(builder("rejected", plain()).build().is_ok());
    assert!(builder("expired", Step::new("a", expires())).build().is_ok());
    let never = || E::UnreachableStep { step: text("b") };
    only(builder("declined", plain()), never());
    only(builder("expired", plain()), never());
    only(builder("expired", Step::new("a", expires().then_to(COMPLETE))), never());
}

#[test]
fn every_problem_is_found_at_once() {
    let builder = triggered()
        .step(step("a"))
        .step(step("b"))
        .then_if("a", when("").is(1), "b")
        .then_if("a", when("x").one_of([0; 0]), "b")
        .then_named("a", "r", COMPLETE)
        .then_named("a", "r", "b")
        .on_error_kind("a", "", "b")
        .then("b", COMPLETE);
    let problems: Vec<GuardProblem> = errors(builder)
        .into_iter()
        .map(|error| match error {
            E::Guard { from, problem } if from == "a" => problem,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        problems,
        [
            GuardProblem::Incomplete { condition: text(" is 1") },
            GuardProblem::Incomplete { condition: text("x is one of ") },
            GuardProblem::Duplicate { guard: text("route r") },
            GuardProblem::InvalidKind,
            GuardProblem::NoOtherwise,
        ]
    );
}

#[test]
fn a_stored_guard_is_of_its_outcome() {
    let workflow = chain().then_if("a", when("x").is(1), COMPLETE).build().unwrap();
    let mut data = serde_json::to_value(&**workflow.definition()).unwrap();
    let transitions = data["transitions"].as_array_mut().unwrap();
    let guarded = transitions.iter_mut().find(|transition| transition.get("guard").is_some()).unwrap();
    guarded["on"] = "error".into();
    let error = serde_json::from_value::<squidmesh_core::definition::Definition>(data).unwrap_err().to_string();
    assert!(error.contains("on error for `if x is 1`, which is of the other outcome"), "{error}");
}
