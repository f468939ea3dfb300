//! The table `squidmesh_definitions`: one row for each version of a workflow that a run was ever started on.

use squidmesh_core::{Definition, StoreError, Timestamp};

use super::cell::{json, to_json, to_millis};
use super::{Cells, Unreadable};
use crate::columns::{Column, fixed};
use crate::sql::Row;

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

pub(crate) fn definition_from_row(row: &impl Cells) -> Result<Definition, Unreadable> {
    json(row, "body")
}
