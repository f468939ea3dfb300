//! A step may be continued on another thread.

use std::rc::Rc;

use squidmesh_core::{Step, StepResult};

async fn count(_: serde_json::Value) -> StepResult<()> {
    let shared = Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
    Ok(())
}

fn main() {
    let _ = Step::new("count", count);
}
