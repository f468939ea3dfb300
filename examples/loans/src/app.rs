//! What every request needs: the database and the runtime.

use std::error::Error;
use std::sync::Arc;

use squidmesh_core::port::Executor;
use squidmesh_core::{Squidmesh, secs};
use squidmesh_store::SeaOrmStore;

use crate::api_error::ApiError;
use crate::bureau::Bureau;
use crate::loan;
use crate::workflow;

/// The state of the service. Cheap to clone: axum gives each request a clone.
#[derive(Clone)]
pub struct App {
    /// The database, for the service's own rows.
    pub store: SeaOrmStore,
    /// The runtime, on the same database.
    pub mesh: Squidmesh,
}

impl App {
    /// Opens the service on a database: creates the missing table, and builds the runtime.
    ///
    /// # Errors
    /// Returns the reason why the service cannot start.
    pub async fn open(
        store: SeaOrmStore,
        executor: impl Executor,
        bureau: Arc<dyn Bureau>,
    ) -> Result<App, Box<dyn Error + Send + Sync>> {
        loan::create_table(store.connection()).await?;
        let mesh = Squidmesh::builder(store.clone())
            .executor(executor)
            .workflow(workflow::loan(bureau)?)
            .configure(|config| config.call_timeout = secs(3)) // before the client, or a proxy, stops waiting
            .build()?;
        Ok(App { store, mesh })
    }

    /// Returns a loan.
    ///
    /// # Errors
    /// Returns [`ApiError::UnknownLoan`], or [`ApiError::Database`].
    pub async fn loan(&self, loan_id: &str) -> Result<loan::Model, ApiError> {
        let found = loan::find(self.store.connection(), loan_id).await?;
        found.ok_or_else(|| ApiError::UnknownLoan { loan_id: loan_id.to_owned() })
    }
}
