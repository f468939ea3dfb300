//! How a step gets the runtime that runs it.
//!
//! A step that starts another workflow needs the runtime; the runtime is built from the workflows. The slot is given
//! to the step empty, and filled once the runtime is built.

use std::sync::{Arc, OnceLock};

use squidmesh_core::Squidmesh;

/// A slot for the runtime. Clones share the slot.
#[derive(Clone, Default)]
pub struct MeshSlot(Arc<OnceLock<Squidmesh>>);

/// The slot was used before it was filled.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the runtime is not there yet: fill the slot before workers run")]
pub struct SlotEmpty;

impl MeshSlot {
    /// Fills the slot. A second runtime is ignored.
    pub fn fill(&self, mesh: Squidmesh) {
        let _ = self.0.set(mesh);
    }

    /// Returns the runtime.
    ///
    /// # Errors
    /// Returns [`SlotEmpty`] if the slot has not been filled.
    pub fn mesh(&self) -> Result<&Squidmesh, SlotEmpty> {
        self.0.get().ok_or(SlotEmpty)
    }
}
