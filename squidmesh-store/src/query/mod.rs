//! Reads runs: by id, by key, and in lists. Changes nothing.

pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod stranded;
