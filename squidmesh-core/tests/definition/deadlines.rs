//! The deadlines of approvals.

use squidmesh_core::definition::DefinitionError as E;
use squidmesh_core::workflow::{BuiltIn, WorkflowBuilder};
use squidmesh_core::{COMPLETE, FAIL, Step, approval, ms, secs};

use crate::declared::{errors, step, triggered};

/// Asserts that exactly one error is found.
#[track_caller]
fn assert_one(builder: WorkflowBuilder, expected: E) {
    assert_eq!(errors(builder), [expected]);
}

/// ask → yes, on error → no
fn asked(ask: impl Into<BuiltIn>) -> WorkflowBuilder {
    triggered()
        .step(Step::new("ask", ask.into()))
        .step(step("yes"))
        .step(step("no"))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
}

#[test]
fn a_deadline_allows_some_time() {
    assert_one(asked(approval().deadline(ms(0))), E::ZeroDeadline { step: String::from("ask") });
    assert_one(
        asked(approval().deadline(secs(u64::MAX))),
        E::DurationTooLong { step: String::from("ask"), what: "deadline" },
    );
    assert!(asked(approval().deadline(secs(1))).build().is_ok());
}

#[test]
fn a_deadline_leads_to_a_step_that_exists_and_makes_no_circle() {
    let led = |to: &str| asked(approval().deadline(secs(1)).then_to(to));
    assert_one(
        led("nobody"),
        E::UnknownDeadlineTarget { step: String::from("ask"), to: String::from("nobody"), similar: None },
    );
    assert!(led("no").build().is_ok());
    assert!(asked(approval().deadline(secs(1)).then_to(COMPLETE)).build().is_ok());
    let back = triggered()
        .step(step("first"))
        .step(Step::new("ask", approval().deadline(secs(1)).then_to("between")))
        .step(step("between"))
        .then("first", "between")
        .then("between", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE);
    assert_one(back, E::TransitionCycle { steps: vec![String::from("ask"), String::from("between")] });
}

#[test]
fn a_step_that_only_a_deadline_leads_to_is_reached() {
    let led = asked(approval().deadline(secs(1)).then_to("remind")).step(step("remind")).then("remind", FAIL);
    let workflow = led.build().unwrap();
    let deadline = workflow.definition().step("ask").unwrap().deadline.clone().unwrap();
    assert_eq!(deadline.after, secs(1));
    assert_eq!(serde_json::to_value(&deadline.to).unwrap(), serde_json::json!({"step": "remind"}));
}
