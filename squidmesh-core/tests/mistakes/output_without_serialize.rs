//! The output of a step is stored as JSON.

use squidmesh_core::{Step, StepResult};

struct Offer {
    rate: f64,
}

async fn offer(_: serde_json::Value) -> StepResult<Offer> {
    Ok(Offer { rate: 0.03 })
}

fn main() {
    let _ = Step::new("offer", offer);
    let _ = Offer { rate: 1.0 }.rate;
}
