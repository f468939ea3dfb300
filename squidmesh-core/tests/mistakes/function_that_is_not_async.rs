//! A step function is async.

use squidmesh_core::{Step, StepContext, StepResult};

fn score(_: serde_json::Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn main() {
    let _ = Step::new("score", score);
}
