//! Which executor carries the workflows: the one place that a feature decides.

use squidmesh_executor_tokio::TokioExecutor;

#[cfg(not(feature = "tokio"))]
compile_error!("the model host needs an executor: enable the feature `tokio`");

/// The executor, for so many steps at once.
pub(crate) fn executor(workers: usize) -> TokioExecutor {
    TokioExecutor::new().concurrency(workers)
}
