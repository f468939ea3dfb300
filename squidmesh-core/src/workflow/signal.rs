//! The declaration of a signal.
//!
//! Collects options without checking them. Errors are reported when the workflow is built.

use super::payload::{DeclaredPayload, Payload};
use crate::contract::{Field, PayloadSchema};
use crate::definition::draft::SignalDraft;
use crate::definition::{DefinitionError, PayloadOwner};

/// The declaration of a signal: a fact from outside that a run waits for, such as the webhook of a payment. A signal
/// without a declared payload carries none.
///
/// ```
/// use squidmesh_core::{COMPLETE, Field, Signal, Step, Trigger, Workflow, hours, wait_for};
///
/// let checkout = Workflow::builder("checkout")
///     .trigger(Trigger::manual("place_order"))
///     .signal(Signal::new("payment_received").field(Field::string("reference")))
///     .step(Step::new("await_payment", wait_for("payment_received").deadline(hours(72))).output("payment"))
///     .then("await_payment", COMPLETE)
///     .build()?;
/// # Ok::<(), squidmesh_core::DefinitionErrors>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a signal counts only once it is given to a workflow"]
pub struct Signal {
    name: String,
    payload: DeclaredPayload,
}

impl Signal {
    /// Declares a signal.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self { name: name.as_ref().to_owned(), payload: DeclaredPayload::default() }
    }

    /// Carries a payload of this type, which must be an object without other fields, as for
    /// [`Trigger::payload`](crate::Trigger::payload).
    pub fn payload<T: Payload>(mut self) -> Self {
        self.payload.declare(PayloadSchema::of::<T>());
        self
    }

    /// Adds a field to the payload.
    pub fn field(mut self, field: Field) -> Self {
        self.payload.fields.push(field);
        self
    }

    pub(super) fn into_draft(self, errors: &mut Vec<DefinitionError>) -> SignalDraft {
        let contract = self.payload.into_contract(PayloadOwner::Signal(self.name.clone()), errors);
        SignalDraft { name: self.name, contract }
    }
}
