//! Small workflows for the other tests.

use serde_json::Value;
use squidmesh_core::definition::DefinitionError;
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, Step, StepContext, StepResult, Trigger, Workflow};

/// Returns its input.
pub(crate) async fn echo(input: Value, _: StepContext) -> StepResult<Value> {
    Ok(input)
}

pub(crate) fn step(name: &str) -> Step {
    Step::new(name, echo)
}

/// Returns a builder with a trigger and nothing else.
pub(crate) fn triggered() -> WorkflowBuilder {
    Workflow::builder("orders").trigger(Trigger::manual("start"))
}

/// Returns a valid transition workflow: `a`, then `b`, then the end.
pub(crate) fn chain() -> WorkflowBuilder {
    triggered().step(step("a")).step(step("b")).then("a", "b").then("b", COMPLETE)
}

pub(crate) fn errors(builder: WorkflowBuilder) -> Vec<DefinitionError> {
    builder.build().unwrap_err().iter().cloned().collect()
}

/// Asserts that exactly one error is found.
#[track_caller]
pub(crate) fn only(builder: WorkflowBuilder, expected: DefinitionError) {
    assert_eq!(errors(builder), [expected]);
}

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}
