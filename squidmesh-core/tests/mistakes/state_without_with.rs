//! A state of the host is given to a step function by `with`.

use std::sync::Arc;

use squidmesh_core::{Step, StepResult};

struct App;

async fn score(_: Arc<App>, _: serde_json::Value) -> StepResult<()> {
    Ok(())
}

fn main() {
    let _ = Step::new("score", score);
}
