//! What a definition answers about its graph.

use squidmesh_core::definition::{Definition, Shape, StepDefinition, Target, TransitionOutcome};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, FAIL, Step, approval};

use crate::declared::{chain, step, triggered};

fn built(builder: WorkflowBuilder) -> Definition {
    builder.build().unwrap().definition().as_ref().clone()
}

fn names(steps: &[&StepDefinition]) -> Vec<String> {
    steps.iter().map(|step| step.name.to_string()).collect()
}

#[test]
fn a_transition_workflow_begins_at_its_entry() {
    let definition = built(
        triggered()
            .step(step("undo"))
            .step(Step::new("ask", approval()))
            .step(step("first"))
            .then("first", "ask")
            .then("ask", COMPLETE)
            .on_error("ask", "undo")
            .then("undo", COMPLETE),
    );
    assert_eq!(definition.shape(), Shape::Transitions);
    assert_eq!(names(&definition.entry_steps()), ["first"]);
    let to = |from, on| definition.transition(from, on).map(|transition| &transition.to);
    assert!(matches!(to("first", TransitionOutcome::Ok), Some(Target::Step(step)) if *step == "ask"));
    assert_eq!(to("ask", TransitionOutcome::Ok), Some(&Target::Complete));
    assert!(matches!(to("ask", TransitionOutcome::Error), Some(Target::Step(step)) if *step == "undo"));
    assert_eq!(to("first", TransitionOutcome::Error), None);
    assert_eq!(to("nowhere", TransitionOutcome::Ok), None);
    assert_eq!((definition.position("undo"), definition.position("first")), (Some(0), Some(2)));
    assert!(definition.dependents("first").is_empty() && definition.ancestors("undo").is_empty());
}

#[test]
fn a_dependency_workflow_begins_at_its_roots() {
    let definition = built(
        triggered()
            .step(step("join").after(["right", "left"]))
            .step(step("left").after(["root"]))
            .step(step("right").after(["root", "other"]))
            .step(step("other"))
            .step(step("root")),
    );
    assert_eq!(definition.shape(), Shape::Dependencies);
    assert_eq!(names(&definition.entry_steps()), ["other", "root"]);
    assert_eq!(names(&definition.dependents("root")), ["left", "right"]);
    assert_eq!(names(&definition.dependents("join")), [""; 0]);
    assert_eq!(names(&definition.ancestors("join")), ["left", "right", "other", "root"]);
    assert_eq!(names(&definition.ancestors("root")), [""; 0]);
    assert_eq!(definition.step("join").unwrap().after.len(), 2);
    assert!(definition.step("nowhere").is_none() && definition.dependents("nowhere").is_empty());
}

#[test]
fn a_single_step_completes_by_itself() {
    assert_eq!(built(triggered().step(step("only"))).shape(), Shape::Dependencies);
    assert_eq!(built(triggered().step(step("only")).then("only", COMPLETE)).shape(), Shape::Transitions);
}

#[test]
fn steps_without_edges_all_begin_at_once() {
    let definition = built(triggered().step(step("a")).step(step("b")).parallel());
    assert_eq!(definition.shape(), Shape::Dependencies);
    assert_eq!(names(&definition.entry_steps()), ["a", "b"]);
}

#[test]
fn triggers_are_found_by_name() {
    let definition = built(chain());
    assert_eq!(definition.trigger("start").unwrap().name().as_str(), "start");
    assert!(definition.trigger("stop").is_none());
}

#[test]
fn a_step_called_complete_is_not_the_end() {
    let definition =
        built(triggered().step(step("a")).step(step("complete")).then("a", "complete").then("complete", FAIL));
    let transition = definition.transition("a", TransitionOutcome::Ok).unwrap();
    assert!(matches!(&transition.to, Target::Step(step) if *step == "complete"));
    let read: Definition = serde_json::from_value(serde_json::to_value(&definition).unwrap()).unwrap();
    assert_eq!(read.transitions(), definition.transitions());
}
