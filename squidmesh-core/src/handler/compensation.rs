//! The input of a compensation handler.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The input of a compensation handler: the completed step to undo, and the failure that caused it. `I` and `O`
/// are the input and output types of that step; both default to plain JSON.
///
/// ```
/// use serde::Deserialize;
/// use squidmesh_core::workflow::Compensation;
/// use squidmesh_core::{StepContext, StepResult};
///
/// #[derive(Deserialize)]
/// struct Order { order_id: String }
/// #[derive(Deserialize)]
/// struct Reservation { shelf: u32 }
///
/// async fn release(undo: Compensation<Order, Reservation>, _: StepContext) -> StepResult<()> {
///     println!("releasing shelf {} of order {}", undo.output.shelf, undo.input.order_id);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compensation<I = Value, O = Value> {
    /// The payload of the run.
    pub payload: Map<String, Value>,
    /// The context of the run, as the failure left it.
    pub context: Map<String, Value>,
    /// The input of the step.
    pub input: I,
    /// The output of the step.
    pub output: O,
    /// The failure of the run.
    pub failure: Value,
}
