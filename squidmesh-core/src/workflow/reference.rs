//! Typed references to workflows: a name, with the types of what its runs take and give.
//!
//! Knows types and what a declaration must agree with; must never know runs or how they are started.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::builder::WorkflowBuilder;
use super::intention::Expected;

/// The name of a workflow with the types of its payload and its result, so that the compiler checks every start.
///
/// A reference is a constant that the code which declares the workflow and the code which starts it share. A builder
/// made from it checks that the declaration agrees: every manual trigger takes the payload, and outputs provide every
/// field that the result requires. `()` stands for no payload. The result is the run's context, the merged outputs of
/// its steps; leave the type out to receive it as a map.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use squidmesh_core::workflow::WorkflowRef;
/// use squidmesh_core::{RunId, Squidmesh, Step, StepResult, Trigger, Workflow};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Order { cents: u64 }
/// #[derive(Debug, Serialize, Deserialize, JsonSchema)]
/// struct Receipt { number: u32 }
/// #[derive(Deserialize, JsonSchema)]
/// struct Sold { receipt: Receipt }
///
/// const CHECKOUT: WorkflowRef<Order, Sold> = WorkflowRef::new("checkout");
///
/// async fn capture(_: Order) -> StepResult<Receipt> { Ok(Receipt { number: 1 }) }
///
/// fn checkout() -> Result<Workflow, Box<dyn std::error::Error>> {
///     let workflow = CHECKOUT
///         .builder()
///         .trigger(Trigger::manual("place_order").payload::<Order>())
///         .step(Step::new("capture", capture).output("receipt"))
///         .build()?;
///     Ok(workflow)
/// }
///
/// async fn sell(mesh: &Squidmesh, order: &Order) -> Result<RunId, Box<dyn std::error::Error>> {
///     Ok(mesh.start(CHECKOUT, order).await?.id)
/// }
///
/// async fn receipt(mesh: &Squidmesh, run: RunId) -> Result<Receipt, Box<dyn std::error::Error>> {
///     Ok(mesh.inspect_run(run).await?.result(CHECKOUT)?.receipt)
/// }
/// # use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
/// # let clock = std::sync::Arc::new(ManualClock::default());
/// # let builder = Squidmesh::builder(MemoryStore::new(clock.clone())).executor(MemoryExecutor::new(clock));
/// # let mesh = builder.workflow(checkout()?).build()?;
/// # let run = block_on(sell(&mesh, &Order { cents: 5 }))?;
/// # assert!(block_on(receipt(&mesh, run)).unwrap_err().to_string().contains("has no result"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A payload of another type does not compile:
/// ```compile_fail,E0308
/// # use squidmesh_core::{Squidmesh, workflow::WorkflowRef};
/// const CHECKOUT: WorkflowRef<String> = WorkflowRef::new("checkout");
/// async fn sell(mesh: &Squidmesh) { let _ = mesh.start(CHECKOUT, &5).await; }
/// ```
pub struct WorkflowRef<P, R = Map<String, Value>> {
    name: &'static str,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> WorkflowRef<P, R> {
    /// Creates a reference to the workflow of this name. The name is checked when the workflow is built.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// Returns the name of the workflow.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<P: JsonSchema, R: JsonSchema> WorkflowRef<P, R> {
    /// Returns a builder for the workflow, as [`Workflow::builder`](crate::Workflow::builder) does. Its
    /// [`build`](WorkflowBuilder::build) also checks that the declaration agrees with the types of the reference.
    pub fn builder(&self) -> WorkflowBuilder {
        WorkflowBuilder::new(self.name, Some(Expected::of::<P, R>()))
    }
}

impl<P, R> Clone for WorkflowRef<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for WorkflowRef<P, R> {}

impl<P, R> fmt::Debug for WorkflowRef<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkflowRef").field(&self.name).finish()
    }
}
