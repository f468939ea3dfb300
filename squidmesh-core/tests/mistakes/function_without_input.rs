//! A step function takes its input.

use squidmesh_core::{Step, StepResult};

async fn score() -> StepResult<()> {
    Ok(())
}

fn main() {
    let _ = Step::new("score", score);
}
