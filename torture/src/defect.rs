//! A deliberately broken worker: what it commits is distorted on its way into the store. Proves that the checker
//! notices.

use std::sync::Arc;

use async_trait::async_trait;
use squidmesh_core::port::{Commit, CommitOutcome, Store, StoreError};
use squidmesh_core::testing::StoreInterceptor;
use squidmesh_simulation::mutation::Mutation;

/// Returns the defect with this name, however its words are spelled.
pub(crate) fn named(name: &str) -> Option<Mutation> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    Mutation::ALL.into_iter().find(|mutation| plain(&format!("{mutation:?}")) == plain(name))
}

/// Distorts the commits of a store.
pub(crate) struct Distorted(pub(crate) Mutation);

#[async_trait]
impl StoreInterceptor for Distorted {
    async fn commit(
        &self,
        store: &dyn Store,
        mut commits: Vec<Commit>,
    ) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        for commit in &mut commits {
            let stored = store.load(commit.run.id).await?;
            let definition = store.definition(&commit.run.fingerprint).await?.map(Arc::new);
            self.0.distort(commit, stored.as_ref(), definition.as_deref());
        }
        store.commit(commits).await
    }
}
