//! What a compensation handler is given.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The input of a compensation handler: the completed step that is to be made good, and the failure that made it necessary.
/// `I` and `O` are the input and output of that step; they are plain JSON unless said otherwise.
///
/// ```
/// use serde::Deserialize;
/// use squidmesh_core::{Compensation, StepContext, StepResult};
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
    /// What the step was given.
    pub input: I,
    /// What the step gave.
    pub output: O,
    /// Why the run failed.
    pub failure: Value,
}
