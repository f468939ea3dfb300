//! The rules about signals and about the steps that wait for them.

use schemars::JsonSchema;
use squidmesh_core::definition::{ContractProblem, Definition, DefinitionError as E, PayloadOwner, StepKind, Target};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, FAIL, Field, Signal, Step, Workflow, hours, ms, secs, wait_for, when};

use crate::declared::{chain, errors, only, step, text, triggered};

/// `a` waits for `paid`, and `b` follows.
fn waiting() -> WorkflowBuilder {
    let wait = Step::new("a", wait_for("paid")).output("payment");
    triggered().signal(Signal::new("paid").field(Field::integer("amount"))).step(wait).step(step("b")).chain(["a", "b"])
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Payment {
    reference: String,
}

#[test]
fn a_declared_signal_may_be_waited_for() {
    let built = waiting().build().unwrap();
    let definition = built.definition();
    let signal = definition.signal("paid").unwrap();
    assert_eq!((definition.signals().len(), signal.name().as_str()), (1, "paid"));
    assert!(definition.signal("other").is_none());
    assert_eq!(definition.step("a").unwrap().kind, StepKind::WaitFor { signal: text("paid") });
    let read: Definition = serde_json::from_str(&serde_json::to_string(&**definition).unwrap()).unwrap();
    assert_eq!((&read, read.fingerprint()), (&**definition, definition.fingerprint()));
    // It may be declared before anything waits for it, and several steps may wait for one.
    assert!(chain().signal(Signal::new("unused")).build().is_ok());
    let twice = waiting().step(Step::new("c", wait_for("paid"))).then_if("a", when("payment.amount").is(1), "c");
    assert!(twice.then("c", COMPLETE).build().is_ok());
}

#[test]
fn a_signal_changes_the_fingerprint_of_its_workflow_alone() {
    let of = |builder: WorkflowBuilder| *builder.build().unwrap().definition().fingerprint();
    let plain = of(chain());
    assert_ne!(of(chain().signal(Signal::new("paid"))), plain);
    assert_ne!(of(chain().signal(Signal::new("paid"))), of(chain().signal(Signal::new("seen"))));
    let typed = chain().signal(Signal::new("paid").payload::<Payment>());
    assert_ne!(of(typed), of(chain().signal(Signal::new("paid"))));
}

#[test]
fn two_signals_cannot_share_a_name() {
    let builder = chain().signal(Signal::new("paid")).signal(Signal::new("paid")).signal(Signal::new("paid"));
    only(builder, E::DuplicateSignal { signal: text("paid") });
    assert!(
        matches!(errors(chain().signal(Signal::new(""))).as_slice(), [E::InvalidName(invalid)] if invalid.what() == "signal")
    );
}

#[test]
fn a_step_waits_for_a_signal_that_is_declared() {
    let unknown = |signal: &str, similar: Option<&str>| E::UnknownSignal {
        step: text("c"),
        signal: text(signal),
        similar: similar.map(text),
    };
    let to_c = |signal: &str| waiting().step(Step::new("c", wait_for(signal))).on_error("b", "c").then("c", COMPLETE);
    only(to_c("piad"), unknown("piad", Some("paid")));
    only(to_c("delivered"), unknown("delivered", None));
    only(to_c(""), unknown("", None));
}

#[test]
fn the_payload_of_a_signal_obeys_the_rules_of_payloads() {
    let of = |problem| E::Payload { owner: PayloadOwner::Signal(text("s")), problem };
    let signal = || Signal::new("s");
    only(chain().signal(signal().payload::<Payment>().field(Field::map("x"))), of(ContractProblem::DeclaredTwice));
    only(chain().signal(signal().payload::<Vec<Payment>>()), of(ContractProblem::NotAnObject));
    let twice = signal().field(Field::map("x")).field(Field::map("x"));
    only(chain().signal(twice), of(ContractProblem::DuplicateField { field: text("x") }));
    let message = errors(chain().signal(signal().field(Field::map(""))))[0].to_string();
    assert_eq!(message, "the signal \"s\" declares a payload field with an empty name");
}

#[test]
fn a_wait_may_have_a_deadline() {
    let until = |after| {
        let builder = triggered().signal(Signal::new("paid")).step(Step::new("a", wait_for("paid").deadline(after)));
        builder.then("a", COMPLETE)
    };
    assert!(until(hours(1)).build().is_ok(), "without an error transition, it fails the run");
    only(until(ms(0)), E::ZeroDeadline { step: text("a") });
    only(until(secs(u64::MAX)), E::DurationTooLong { step: text("a"), what: "deadline" });
    let own = wait_for("paid").deadline(hours(1)).then_to("remind");
    let own = triggered().signal(Signal::new("paid")).step(Step::new("a", own)).step(step("remind"));
    let built = own.then("a", COMPLETE).then("remind", FAIL).build().unwrap();
    let deadline = built.definition().step("a").unwrap().deadline.clone().unwrap();
    assert_eq!(deadline.to, Some(Target::Step("remind".parse().unwrap())));
    // A step that only an expired wait leads to can be reached.
    let by_kind = triggered().signal(Signal::new("paid")).step(Step::new("a", wait_for("paid").deadline(hours(1))));
    let by_kind = by_kind.step(step("b")).then("a", COMPLETE).on_error_kind("a", "expired", "b").then("b", COMPLETE);
    assert!(by_kind.build().is_ok());
}

#[test]
fn a_wait_is_no_handler() {
    let with = |change: fn(Step) -> Step| {
        triggered().signal(Signal::new("s")).step(change(Step::new("a", wait_for("s")))).then("a", COMPLETE)
    };
    only(with(|step| step.timeout(secs(1))), E::TimeoutOnBuiltIn { step: text("a"), kind: "wait_for" });
    only(
        triggered().signal(Signal::new("s")).step(Step::new("a", wait_for("s"))).parallel(),
        E::NoSuccessor { step: text("a") },
    );
    let missing =
        triggered().signal(Signal::new("s")).step(step("x")).step(Step::new("a", wait_for("s"))).then("x", "a");
    only(missing, E::NoSuccessor { step: text("a") });
}

#[test]
fn a_wait_needs_transitions() {
    let builder = triggered().signal(Signal::new("s")).step(step("x")).step(Step::new("a", wait_for("s")).after(["x"]));
    only(builder, E::ManualStepInDependencyWorkflow { step: text("a"), kind: "wait_for" });
}

#[test]
fn inputs_may_ask_for_what_a_signal_carries() {
    let declared = |key: &str| {
        let builder = Workflow::builder("w").trigger(squidmesh_core::Trigger::manual("go"));
        let builder = builder.signal(Signal::new("paid").field(Field::integer("amount")));
        let nothing =
            |_: serde_json::Value, _: squidmesh_core::StepContext| async { squidmesh_core::StepResult::Ok(()) };
        builder.step(Step::new("a", wait_for("paid"))).step(Step::new("b", nothing).input([key])).chain(["a", "b"])
    };
    assert!(declared("amount").build().is_ok());
    let similar = Some(text("amount"));
    only(declared("amuont"), E::UnknownInput { step: text("b"), key: text("amuont"), similar });
}
