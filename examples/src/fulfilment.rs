//! The workflow `fulfilment`: one paid order, from the shelf to the door. Each step waits for those that it names.
//!
//! ```text
//!          ┌─▶ ship ────┐
//! pick ────┤            ├─▶ close
//!          └─▶ invoice ─┘
//! ```
//!
//! A parcel that customs hold fails the run; once customs clear it, the operator resumes the run.
//!
//! Knows which steps there are and what each does to the shop's tables. Knows no store, no executor and no gateway.

use schemars::JsonSchema;
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    DefinitionErrors, Retry, Step, StepContext, StepError, StepResult, Trigger, Workflow, ms, secs, transactional,
};

use crate::inventory;
use crate::tables::customs;
use crate::tables::ledger::{self, Kind};
use crate::tables::orders::{self, State};

/// A paid order: the payload of the workflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parcel {
    /// The order.
    pub order_id: String,
    /// What the customer has paid.
    pub amount_cents: i64,
}

/// Returns the workflow.
///
/// # Errors
/// Never fails as it stands; a change that breaks the definition would be reported here.
pub fn fulfilment() -> Result<Workflow, DefinitionErrors> {
    let patient = Retry::exponential(10, ms(50)..secs(5)).jitter(true);
    let step = |name, task| Step::new(name, transactional(Desk { task })).retry(patient.clone());

    Workflow::builder("fulfilment")
        .trigger(Trigger::manual("order_paid").payload::<Parcel>())
        .step(step("pick", Task::Pick))
        .step(step("ship", Task::Ship).after(["pick"]))
        .step(step("invoice", Task::Invoice).after(["pick"]))
        .step(step("close", Task::Close).after(["ship", "invoice"]))
        .build()
}

/// Does one task on a parcel, in the transaction that records the step's completion.
struct Desk {
    task: Task,
}

enum Task {
    Pick,
    Ship,
    Invoice,
    Close,
}

impl TransactionalHandler for Desk {
    type Input = Parcel;
    type Transaction = DatabaseTransaction;
    type Output = ();

    async fn run(&self, parcel: Parcel, transaction: &DatabaseTransaction, _: StepContext) -> StepResult<()> {
        let Parcel { order_id, amount_cents } = parcel;
        match self.task {
            Task::Pick => inventory::pick(transaction, &order_id).await?,
            Task::Ship if customs::is_held(transaction, &order_id).await? => {
                return Err(StepError::terminal("customs hold the parcel").kind("held"));
            }
            Task::Ship => inventory::ship(transaction, &order_id).await?,
            Task::Invoice => {
                let reference = format!("invoice-{order_id}");
                let entry = ledger::Model { order_id, kind: Kind::Invoice, amount_cents, reference };
                ledger::enter(transaction, entry).await?;
            }
            Task::Close => orders::close(transaction, &order_id, State::Fulfilled).await?,
        }
        Ok(())
    }
}
