//! Every rule of a definition: broken alone, and together with all the others.

use std::mem::discriminant;

use schemars::JsonSchema;
use squidmesh_core::definition::{
    ContractProblem as P, DefinitionError as E, FieldKind, LogLevel, PayloadOwner, RecoveryRoute, StepKind,
    TransitionOutcome,
};
use squidmesh_core::{
    COMPLETE, Field, Retry, Signal, Step, Trigger, Workflow, approval, log, ms, pause, secs, wait, wait_for,
};

use crate::declared::{chain, echo, errors, only, step, text, triggered};

#[test]
fn a_valid_workflow_has_no_error() {
    assert!(chain().build().is_ok());
    assert!(triggered().step(step("a")).step(step("b").after(["a"])).build().is_ok());
}

#[test]
fn a_workflow_needs_a_trigger() {
    only(Workflow::builder("w").step(step("a")), E::NoTrigger);
}

#[test]
fn two_triggers_cannot_share_a_name() {
    let builder = chain().trigger(Trigger::manual("start")).trigger(Trigger::manual("start"));
    only(builder, E::DuplicateTrigger { trigger: text("start") });
}

/// Returns the error of a payload of the trigger `t`.
fn payload(problem: P) -> E {
    E::Payload { owner: PayloadOwner::Trigger(text("t")), problem }
}

#[test]
fn a_payload_is_declared_once() {
    let both = Trigger::manual("t").payload::<Order>().field(Field::string("id"));
    only(chain().trigger(both), payload(P::DeclaredTwice));
    let twice = Trigger::manual("t").payload::<Order>().payload::<Order>();
    only(chain().trigger(twice), payload(P::DeclaredTwice));
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Order {
    id: String,
    #[schemars(range(min = 1))]
    copies: Option<u8>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Broken {
    #[schemars(regex(pattern = "(unclosed"))]
    id: String,
}

#[test]
fn a_payload_schema_must_compile() {
    let found = errors(chain().trigger(Trigger::manual("t").payload::<Broken>()));
    let [E::Payload { owner, problem: P::InvalidSchema { .. } }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(*owner, PayloadOwner::Trigger(text("t")));
}

#[test]
fn a_payload_type_must_be_an_object() {
    let error = payload(P::NotAnObject);
    only(chain().trigger(Trigger::manual("t").payload::<Vec<Order>>()), error.clone());
    only(chain().trigger(Trigger::manual("t").payload::<String>()), error);
}

#[test]
fn payload_fields_have_names_of_their_own() {
    let twice = Trigger::manual("t").field(Field::map("x")).field(Field::map("x")).field(Field::map("x"));
    only(chain().trigger(twice), payload(P::DuplicateField { field: text("x") }));
    only(chain().trigger(Trigger::manual("t").field(Field::map(""))), payload(P::EmptyFieldName));
}

#[test]
fn a_default_must_fit_its_field() {
    let mismatch = |field: Field| {
        let expected = field.kind();
        only(
            chain().trigger(Trigger::manual("t").field(field)),
            payload(P::DefaultTypeMismatch { field: text("x"), expected }),
        );
    };
    mismatch(Field::string("x").default(1));
    mismatch(Field::integer("x").default(1.5));
    mismatch(Field::float("x").default("1.5"));
    mismatch(Field::float("x").default(f64::NAN));
    mismatch(Field::boolean("x").default("true"));
    mismatch(Field::map("x").default([1]));
    mismatch(Field::list("x").default(()));
    mismatch(Field::integer("x").default_today());
}

#[test]
fn two_triggers_agree_about_the_type_of_a_field() {
    let conflict = |other_kind| E::PayloadFieldConflict {
        field: text("id"),
        one: text("one"),
        one_kind: FieldKind::String,
        other: text("other"),
        other_kind,
    };
    let builder = || chain().trigger(Trigger::manual("one").payload::<Order>());
    only(builder().trigger(Trigger::manual("other").field(Field::integer("id"))), conflict(FieldKind::Integer));
    only(builder().trigger(Trigger::manual("other").field(Field::list("id"))), conflict(FieldKind::List));
    assert!(builder().trigger(Trigger::manual("other").field(Field::string("id"))).build().is_ok());
}

#[test]
fn a_workflow_needs_a_step() {
    only(triggered(), E::NoStep);
}

#[test]
fn two_steps_cannot_share_a_name() {
    only(triggered().step(step("a")).step(step("a")).step(step("a")).parallel(), E::DuplicateStep { step: text("a") });
}

#[test]
fn names_are_neither_empty_nor_over_long() {
    let long = "x".repeat(101);
    for (builder, what) in [
        (Workflow::builder("").trigger(Trigger::manual("t")).step(step("a")), "workflow"),
        (triggered().trigger(Trigger::manual(&long)).step(step("a")), "trigger"),
        (triggered().step(step("\u{7}")), "step"),
        (triggered().step(step("a").queue(" ")), "queue"),
    ] {
        let found = errors(builder);
        assert!(matches!(found.as_slice(), [E::InvalidName(name)] if name.what() == what), "{found:?}");
    }
}

#[test]
fn keys_are_not_empty_and_come_once() {
    let broken = |options: Step, error| only(triggered().step(options), error);
    broken(step("a").output(""), E::EmptyOutputKey { step: text("a") });
    broken(step("a").input(["x", ""]), E::EmptyInputKey { step: text("a") });
    broken(step("a").input_from([("x", "y..z")]), E::EmptyInputKey { step: text("a") });
    broken(step("a").input_from([("", "y")]), E::EmptyInputKey { step: text("a") });
    let twice = E::DuplicateInputKey { step: text("a"), key: text("x") };
    broken(step("a").input(["x", "y", "x"]), twice.clone());
    broken(step("a").input(["x"]).input_from([("x", "y")]), twice);
}

#[test]
fn a_retry_policy_makes_sense() {
    only(
        triggered().step(step("a").retry(Retry::fixed(0, secs(1)))),
        E::ZeroAttempts { step: text("a"), what: "step" },
    );
    only(
        triggered().step(step("a").retry(Retry::exponential(2, secs(2)..secs(1)))),
        E::InvertedBackoff { step: text("a"), what: "step", min: secs(2), max: secs(1) },
    );
    let endless = Retry::fixed(2, std::time::Duration::MAX);
    only(triggered().step(step("a").retry(endless)), E::DurationTooLong { step: text("a"), what: "backoff" });
}

#[test]
fn a_timeout_allows_some_time_and_is_for_handlers() {
    only(triggered().step(step("a").timeout(ms(0))), E::ZeroTimeout { step: text("a") });
    only(triggered().step(step("a").timeout(secs(u64::MAX))), E::DurationTooLong { step: text("a"), what: "timeout" });
    only(
        triggered().step(Step::new("a", wait(secs(1))).timeout(secs(5))),
        E::TimeoutOnBuiltIn { step: text("a"), kind: "wait" },
    );
}

#[test]
fn a_wait_takes_some_time() {
    only(triggered().step(Step::new("a", wait(ms(0)))), E::ZeroWait { step: text("a") });
    only(triggered().step(Step::new("a", wait(secs(u64::MAX)))), E::DurationTooLong { step: text("a"), what: "wait" });
    // Less than a millisecond is not zero: it is rounded up.
    let workflow = triggered().step(Step::new("a", wait(std::time::Duration::from_nanos(1)))).build().unwrap();
    assert_eq!(workflow.definition().step("a").unwrap().kind, StepKind::Wait { duration: ms(1) });
}

#[test]
fn a_log_step_says_something() {
    only(triggered().step(Step::new("a", log("  ", LogLevel::Info))), E::EmptyLogMessage { step: text("a") });
}

#[test]
fn a_step_is_irreversible_or_compensatable() {
    only(
        triggered().step(step("a").irreversible().compensatable(true)),
        E::IrreversibleAndCompensatable { step: text("a") },
    );
}

#[test]
fn only_a_compensatable_step_has_a_compensation() {
    let error = E::CompensateNotAllowed { step: text("a") };
    only(triggered().step(step("a").irreversible().compensate(echo)), error.clone());
    only(triggered().step(step("a").compensatable(false).compensate(echo)), error);
    assert!(triggered().step(step("a").compensate(echo)).build().is_ok());
}

#[test]
fn a_compensations_retry_policy_is_validated() {
    let undone = |retry| triggered().step(step("a").compensate(echo).compensation_retry(retry));
    assert!(undone(Retry::fixed(3, secs(1))).build().is_ok());
    only(undone(Retry::fixed(0, secs(1))), E::ZeroAttempts { step: text("a"), what: "compensation of the step" });
    only(
        undone(Retry::exponential(2, secs(2)..secs(1))),
        E::InvertedBackoff { step: text("a"), what: "compensation of the step", min: secs(2), max: secs(1) },
    );
    let endless = Retry::fixed(2, std::time::Duration::MAX);
    only(undone(endless), E::DurationTooLong { step: text("a"), what: "compensation backoff" });
    only(
        triggered().step(step("a").compensation_retry(Retry::default())),
        E::CompensationRetryWithoutHandler { step: text("a") },
    );
}

#[test]
fn only_an_approval_has_a_deadline() {
    let stored = serde_json::json!({
        "name": "w",
        "triggers": [{"name": "t", "kind": {"type": "manual"}}],
        "steps": [{"name": "a", "kind": {"type": "pause"}, "deadline": {"after_ms": 5}}],
        "transitions": [{"from": "a", "on": "ok", "to": "complete"}],
    });
    let refused = serde_json::from_value::<squidmesh_core::definition::Definition>(stored).unwrap_err().to_string();
    assert!(refused.contains("only an approval or a wait for a signal can have one"), "{refused}");
}

#[test]
fn transitions_and_dependencies_do_not_mix() {
    only(chain().step(step("c").after(["a"])), E::TransitionInDependencyWorkflow { step: text("c"), from: text("a") });
}

#[test]
fn after_names_other_steps_that_exist_once() {
    let after = |names: &[&str]| triggered().step(step("a")).step(step("b").after(names));
    only(after(&["x"]), E::UnknownDependency { step: text("b"), dependency: text("x"), similar: None });
    only(after(&["b"]), E::SelfDependency { step: text("b") });
    only(after(&["a", "a"]), E::DuplicateDependency { step: text("b"), dependency: text("a") });
    only(after(&[]), E::EmptyDependencies { step: text("b") });
}

#[test]
fn a_dependency_cycle_is_named() {
    let builder = triggered()
        .step(step("root"))
        .step(step("a").after(["c", "root"]))
        .step(step("b").after(["a"]))
        .step(step("c").after(["b"]))
        .step(step("leaf").after(["c"]));
    only(builder, E::DependencyCycle { steps: vec![text("a"), text("c"), text("b")] });
}

#[test]
fn people_are_not_waited_for_among_dependencies() {
    for (kind, built_in) in [("pause", pause()), ("approval", approval().into())] {
        only(
            triggered().step(step("a")).step(Step::new("b", built_in).after(["a"])),
            E::ManualStepInDependencyWorkflow { step: text("b"), kind },
        );
    }
}

#[test]
fn one_outcome_leads_one_way() {
    only(chain().then("a", COMPLETE), E::DuplicateTransition { from: text("a"), on: TransitionOutcome::Ok });
    only(
        chain().on_error("a", COMPLETE).on_error("a", "b"),
        E::DuplicateTransition { from: text("a"), on: TransitionOutcome::Error },
    );
}

#[test]
fn transitions_join_steps_that_exist() {
    only(
        chain().on_error("x", "b"),
        E::UnknownTransitionSource { from: text("x"), on: TransitionOutcome::Error, similar: None },
    );
    only(
        chain().on_error("a", "x"),
        E::UnknownTransitionTarget { from: text("a"), on: TransitionOutcome::Error, to: text("x"), similar: None },
    );
}

#[test]
fn a_transition_workflow_begins_at_one_step() {
    let second = chain().step(step("c")).then("c", COMPLETE);
    only(second, E::NotOneEntryStep { steps: vec![text("a"), text("c")] });
}

#[test]
fn transitions_do_not_go_round() {
    only(chain().on_error("b", "a"), E::TransitionCycle { steps: vec![text("a"), text("b")] });
    only(chain().on_error("b", "b"), E::TransitionCycle { steps: vec![text("b")] });
}

#[test]
fn every_step_can_be_reached() {
    // A wait does not fail, so no step can be reached by its failure.
    let builder = triggered()
        .step(Step::new("nap", wait(secs(1))))
        .step(step("never"))
        .then("nap", COMPLETE)
        .on_error("nap", "never")
        .then("never", COMPLETE);
    only(builder, E::UnreachableStep { step: text("never") });
}

#[test]
fn an_approval_leads_on_both_ways() {
    let builder = || chain().step(Step::new("review", approval())).on_error("b", "review");
    let missing = |on| E::ApprovalTransitionMissing { step: text("review"), on };
    only(builder().then("review", COMPLETE), missing(TransitionOutcome::Error));
    only(builder().on_error("review", COMPLETE), missing(TransitionOutcome::Ok));
    assert!(builder().then("review", COMPLETE).on_error("review", COMPLETE).build().is_ok());
}

#[test]
fn a_definition_can_be_stored() {
    let refused = |builder| {
        let found = errors(builder);
        assert!(matches!(found.as_slice(), [E::NotStorable(_)]), "{found:?}");
    };
    refused(triggered().step(Step::new("a", log("a\0b", LogLevel::Info))));
    refused(chain().trigger(Trigger::manual("t").field(Field::string("x").default("a\0b"))));
}

#[test]
fn a_recovery_marker_belongs_to_an_error_transition() {
    chain().on_error("a", COMPLETE).recovery(RecoveryRoute::Undo).build().unwrap();
    assert_eq!(errors(chain().recovery(RecoveryRoute::Undo)), [E::RecoveryOnOkTransition { from: text("b") }]);
    let first = Workflow::builder("w").recovery(RecoveryRoute::Undo);
    assert!(errors(first).contains(&E::RecoveryWithoutTransition));
}

#[test]
fn a_built_in_is_not_transactional() {
    // The builder cannot declare it; stored data can.
    let workflow = triggered().step(Step::new("a", wait(secs(1)))).build().unwrap();
    let mut data = serde_json::to_value(workflow.definition().as_ref()).unwrap();
    data["steps"][0]["transactional"] = true.into();
    let error = serde_json::from_value::<squidmesh_core::definition::Definition>(data).unwrap_err().to_string();
    assert!(
        error.contains("1 error:") && error.contains("\"a\" is a built-in (wait) and cannot be transactional"),
        "{error}"
    );
}

#[test]
fn every_error_is_found_at_once() {
    let builder = Workflow::builder(" ")
        .trigger(Trigger::manual("t").payload::<Order>())
        .trigger(Trigger::manual("t").field(Field::integer("id")).field(Field::integer("id")).field(Field::map("")))
        .trigger(Trigger::manual("u").field(Field::integer("id").default("x")).expression("* * * * *"))
        .trigger(Trigger::manual("v").payload::<Broken>().field(Field::list("x")))
        .trigger(Trigger::manual("w").payload::<u8>())
        .trigger(Trigger::cron("c"))
        .step(step("a").output("").input([""]).retry(Retry::fixed(0, secs(1))).timeout(ms(0)).after(["a"]))
        .step(step("a").input(["x", "x"]).retry(Retry::exponential(2, secs(2)..secs(1))).after([""; 0]))
        .step(Step::new("w", wait(ms(0))).timeout(secs(1)).after(["x"]))
        .step(Step::new("long", wait(secs(u64::MAX))))
        .step(Step::new("l", log("", LogLevel::Warn)))
        .step(step("i").irreversible().compensatable(true))
        .step(step("j").irreversible().compensate(echo))
        .step(step("p").after(["q", "q"]))
        .step(step("q").after(["p"]))
        .step(Step::new("ask", approval()))
        .signal(Signal::new("paid"))
        .signal(Signal::new("paid"))
        .step(Step::new("idle", wait_for("piad")))
        .then("x", "a")
        .then("a", "x")
        .then("a", COMPLETE);
    let built = builder.build().unwrap_err();
    let found: Vec<_> = built.iter().collect();
    let (at, seen): (String, String) = (text(""), text(""));
    let on = TransitionOutcome::Ok;
    for expected in [
        E::DuplicateTrigger { trigger: at.clone() },
        E::DuplicateSignal { signal: at.clone() },
        E::UnknownSignal { step: at.clone(), signal: seen.clone(), similar: None },
        E::PayloadFieldConflict {
            field: seen.clone(),
            one: at.clone(),
            one_kind: FieldKind::Map,
            other: at.clone(),
            other_kind: FieldKind::Map,
        },
        E::InvalidCronExpression { trigger: at.clone(), expression: seen.clone(), reason: seen.clone() },
        E::InvalidTimeZone { trigger: at.clone(), time_zone: seen.clone() },
        E::CronOptionOnManualTrigger { trigger: at.clone(), option: "" },
        E::DuplicateStep { step: at.clone() },
        E::EmptyOutputKey { step: at.clone() },
        E::EmptyInputKey { step: at.clone() },
        E::DuplicateInputKey { step: at.clone(), key: seen.clone() },
        E::ZeroAttempts { step: at.clone(), what: "step" },
        E::InvertedBackoff { step: at.clone(), what: "step", min: secs(1), max: secs(1) },
        E::ZeroTimeout { step: at.clone() },
        E::TimeoutOnBuiltIn { step: at.clone(), kind: "" },
        E::DurationTooLong { step: at.clone(), what: "" },
        E::ZeroWait { step: at.clone() },
        E::EmptyLogMessage { step: at.clone() },
        E::IrreversibleAndCompensatable { step: at.clone() },
        E::CompensateNotAllowed { step: at.clone() },
        E::TransitionInDependencyWorkflow { step: at.clone(), from: seen.clone() },
        E::UnknownDependency { step: at.clone(), dependency: seen.clone(), similar: None },
        E::SelfDependency { step: at.clone() },
        E::DuplicateDependency { step: at.clone(), dependency: seen.clone() },
        E::EmptyDependencies { step: at.clone() },
        E::DependencyCycle { steps: vec![] },
        E::ManualStepInDependencyWorkflow { step: at.clone(), kind: "" },
        E::DuplicateTransition { from: at.clone(), on },
        E::UnknownTransitionSource { from: at.clone(), on, similar: None },
        E::UnknownTransitionTarget { from: at.clone(), on, to: seen.clone(), similar: None },
    ] {
        let seen = found.iter().filter(|error| discriminant(**error) == discriminant(&expected)).count();
        assert!(seen >= 1, "not found: {expected:?}");
    }
    assert!(found.iter().any(|error| matches!(error, E::InvalidName(_))));
    let problems = found.iter().filter_map(|error| match error {
        E::Payload { problem, .. } => Some(discriminant(problem)),
        _ => None,
    });
    let problems: Vec<_> = problems.collect();
    for problem in [
        P::DeclaredTwice,
        P::InvalidSchema { reason: seen.clone() },
        P::NotAnObject,
        P::DuplicateField { field: seen.clone() },
        P::EmptyFieldName,
        P::DefaultTypeMismatch { field: seen.clone(), expected: FieldKind::Map },
    ] {
        assert!(problems.contains(&discriminant(&problem)), "not found: {problem:?}");
    }
    let message = built.to_string();
    assert_eq!(message.lines().count(), found.len() + 1, "each error has its line:\n{message}");
}

#[test]
fn every_error_of_a_transition_workflow_is_found_at_once() {
    let found = errors(
        Workflow::builder("w")
            .step(Step::new("first", wait(secs(1))))
            .step(step("never"))
            .step(Step::new("review", approval()))
            .step(step("x"))
            .step(step("y"))
            .then("first", "review")
            .then("review", "x")
            .then("x", "y")
            .then("y", "x")
            .on_error("first", "never"),
    );
    assert_eq!(
        found,
        [
            E::NoTrigger,
            E::TransitionCycle { steps: vec![text("x"), text("y")] },
            E::NoSuccessor { step: text("never") },
            E::UnreachableStep { step: text("never") },
            E::ApprovalTransitionMissing { step: text("review"), on: TransitionOutcome::Error },
        ]
    );
    assert_eq!(errors(Workflow::builder("w")), [E::NoTrigger, E::NoStep]);
}
