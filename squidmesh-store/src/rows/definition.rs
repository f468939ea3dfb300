//! The table `squidmesh_definitions`: one row per version of a workflow on which a run was ever started.

use squidmesh_core::Timestamp;
use squidmesh_core::definition::Definition;
use squidmesh_core::port::StoreError;

use super::cell::{Columns, Unreadable, json, to_json, to_millis};

use crate::sql::{Column, Row, fixed};

/// The columns, in the order of [`definition_to_row`].
pub(crate) const DEFINITION_COLUMNS: &[Column] =
    &[fixed("fingerprint"), fixed("workflow"), fixed("body"), fixed("created_at")];

pub(crate) fn definition_to_row(definition: &Definition, created_at: Timestamp) -> Result<Row, StoreError> {
    Ok(vec![
        definition.fingerprint().to_string().into(),
        definition.name().as_str().into(),
        to_json(definition)?.into(),
        to_millis(created_at).into(),
    ])
}

pub(crate) fn definition_from_row(row: &impl Columns) -> Result<Definition, Unreadable> {
    json(row, "body")
}
