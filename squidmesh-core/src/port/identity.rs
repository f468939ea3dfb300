//! The identity of the database that a runtime works on, for executors whose queue is outside it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::error::StoreError;
use super::store::Store;

/// Identifies the database of a store, so that the queues of two databases are kept apart. Clones share the cached
/// identity.
#[derive(Clone)]
pub struct DatabaseIdentity {
    store: Arc<dyn Store>,
    known: Arc<OnceLock<Option<String>>>,
}

impl DatabaseIdentity {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        DatabaseIdentity { store, known: Arc::default() }
    }

    /// Returns the identity of the database, as [`Store::identity`] returned it first; cached from then on.
    ///
    /// # Errors
    /// [`StoreError`]: the identity is not known yet.
    pub async fn get(&self) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.known.get() {
            return Ok(known.clone());
        }
        let identity = self.store.identity().await?;
        Ok(self.known.get_or_init(|| identity).clone())
    }

    /// Returns whether both identify the same store.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }
}

impl fmt::Debug for DatabaseIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseIdentity").field("known", &self.known).finish_non_exhaustive()
    }
}
