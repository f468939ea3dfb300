//! A store around another: a test watches, delays, fails or changes single calls of it.
//!
//! Forwards the whole port. A method that is added to the port belongs into the list below, once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::definition::{Definition, Fingerprint};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, Heartbeats,
    LeaseState, PruneBatch, PruneRequest, RunFilter, RunHistory, RunPage, Store, StoreError, StoreSession,
    StrandedRequest, TransactionBody, TransactionOutcome, TransactionType, TriggerRecords,
};
use crate::run::RunSnapshot;
use crate::schedule::TriggerRecord;

/// A store that passes its calls through an interceptor to another store.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use squidmesh_core::testing::{InterceptedStore, ManualClock, MemoryStore, StoreInterceptor, block_on};
/// use squidmesh_core::port::{Commit, CommitOutcome, Store, StoreError, StoreSession};
/// use squidmesh_core::RunFilter;
///
/// /// Applies commits, and loses the answers.
/// struct LosesAnswers;
///
/// #[async_trait]
/// impl StoreInterceptor for LosesAnswers {
///     async fn commit(
///         &self,
///         store: &dyn Store,
///         commits: Vec<Commit>,
///     ) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
///         store.commit(commits).await?;
///         Err(StoreError::OutcomeUnknown { source: "the test loses it".into() })
///     }
/// }
///
/// let store = MemoryStore::new(Arc::new(ManualClock::default()));
/// let forgetful = InterceptedStore::new(store.clone(), LosesAnswers);
/// assert!(block_on(forgetful.commit(Vec::new())).is_err());
///
/// // A closure is called before each call, with the name of the method.
/// let unavailable = InterceptedStore::new(store, |method| match method {
///     "list" => Err(StoreError::Unavailable { doing: method, source: "the test has it away".into() }),
///     _ => Ok(()),
/// });
/// assert!(block_on(unavailable.list(&RunFilter::new())).unwrap_err().is_transient());
/// ```
pub struct InterceptedStore<I> {
    store: Arc<dyn Store>,
    interceptor: Arc<I>,
}

impl<I: StoreInterceptor> InterceptedStore<I> {
    /// Creates a store that passes the calls to `store` through `interceptor`.
    pub fn new(store: impl Store, interceptor: I) -> Self {
        InterceptedStore { store: Arc::new(store), interceptor: Arc::new(interceptor) }
    }

    /// Returns the interceptor.
    pub fn interceptor(&self) -> &I {
        &self.interceptor
    }
}

impl<I> Clone for InterceptedStore<I> {
    fn clone(&self) -> Self {
        InterceptedStore { store: Arc::clone(&self.store), interceptor: Arc::clone(&self.interceptor) }
    }
}

impl<I> fmt::Debug for InterceptedStore<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedStore").finish_non_exhaustive()
    }
}

/// Declares the interceptor and implements the port by it, from one list of the port's fallible methods.
macro_rules! intercept {
    (
        StoreSession { $($session:ident($($s_arg:ident: $s_type:ty),*) -> $s_value:ty;)* }
        Store { $($method:ident($($arg:ident: $type:ty),*) -> $value:ty;)* }
    ) => {
        /// Decides what happens to the calls of an [`InterceptedStore`].
        ///
        /// Each method of the port has one here, which is given the store behind it and by default calls it. A call
        /// that can fail passes [`before`](StoreInterceptor::before), the method and
        /// [`after`](StoreInterceptor::after).
        #[async_trait]
        pub trait StoreInterceptor: Send + Sync + 'static {
            /// Is called before each call that can fail, with the name of the port's method.
            ///
            /// # Errors
            /// The error is returned instead of calling the store.
            async fn before(&self, method: &'static str) -> Result<(), StoreError> {
                let _ = method;
                Ok(())
            }

            /// Is called after each call that succeeded, with the name of the port's method.
            ///
            /// # Errors
            /// The error is returned instead of the result, as if the answer had been lost.
            async fn after(&self, method: &'static str) -> Result<(), StoreError> {
                let _ = method;
                Ok(())
            }

            $(
                #[doc = concat!("Intercepts [`StoreSession::", stringify!($session), "`].")]
                async fn $session(&self, store: &dyn Store, $($s_arg: $s_type),*) -> Result<$s_value, StoreError> {
                    store.$session($($s_arg),*).await
                }
            )*

            $(
                #[doc = concat!("Intercepts [`Store::", stringify!($method), "`].")]
                async fn $method(&self, store: &dyn Store, $($arg: $type),*) -> Result<$value, StoreError> {
                    store.$method($($arg),*).await
                }
            )*

            /// Intercepts [`Store::heartbeats`]. What these heartbeats extend passes
            /// [`before`](StoreInterceptor::before) and [`after`](StoreInterceptor::after) as `extend_leases`, but not
            /// [`extend_leases`](StoreInterceptor::extend_leases): return `None` here to have it pass that too.
            async fn heartbeats(&self, store: &dyn Store) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
                store.heartbeats().await
            }

            /// Intercepts [`Store::work_notified`].
            async fn work_notified(&self, store: &dyn Store) {
                store.work_notified().await;
            }

            /// Intercepts [`Store::notify_work`].
            fn notify_work(&self, store: &dyn Store) {
                store.notify_work();
            }

            /// Intercepts [`Store::is_listening`].
            fn is_listening(&self, store: &dyn Store) -> bool {
                store.is_listening()
            }

            /// Intercepts [`Store::bound_calls`].
            ///
            /// # Errors
            /// Those of the store.
            fn bound_calls(&self, store: &dyn Store, lease: Duration) -> Result<(), String> {
                store.bound_calls(lease)
            }

            /// Intercepts [`Store::transaction_type`].
            fn transaction_type(&self, store: &dyn Store) -> Option<TransactionType> {
                store.transaction_type()
            }
        }

        #[async_trait]
        impl<I: StoreInterceptor> StoreSession for InterceptedStore<I> {
            $(
                async fn $session(&self, $($s_arg: $s_type),*) -> Result<$s_value, StoreError> {
                    self.interceptor.before(stringify!($session)).await?;
                    let value = self.interceptor.$session(&*self.store, $($s_arg),*).await?;
                    self.interceptor.after(stringify!($session)).await?;
                    Ok(value)
                }
            )*
        }

        #[async_trait]
        impl<I: StoreInterceptor> Store for InterceptedStore<I> {
            $(
                async fn $method(&self, $($arg: $type),*) -> Result<$value, StoreError> {
                    self.interceptor.before(stringify!($method)).await?;
                    let value = self.interceptor.$method(&*self.store, $($arg),*).await?;
                    self.interceptor.after(stringify!($method)).await?;
                    Ok(value)
                }
            )*

            async fn heartbeats(&self) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
                self.interceptor.before("heartbeats").await?;
                let heartbeats = self.interceptor.heartbeats(&*self.store).await?;
                self.interceptor.after("heartbeats").await?;
                let interceptor = Arc::clone(&self.interceptor);
                Ok(heartbeats.map(|heartbeats| Box::new(InterceptedHeartbeats { heartbeats, interceptor }) as _))
            }

            async fn work_notified(&self) {
                self.interceptor.work_notified(&*self.store).await;
            }

            fn notify_work(&self) {
                self.interceptor.notify_work(&*self.store);
            }

            fn is_listening(&self) -> bool {
                self.interceptor.is_listening(&*self.store)
            }

            fn bound_calls(&self, lease: Duration) -> Result<(), String> {
                self.interceptor.bound_calls(&*self.store, lease)
            }

            fn transaction_type(&self) -> Option<TransactionType> {
                self.interceptor.transaction_type(&*self.store)
            }
        }
    };
}

intercept! {
    StoreSession {
        load(id: RunId) -> Option<RunSnapshot>;
        commit(commits: Vec<Commit>) -> Vec<Result<CommitOutcome, StoreError>>;
        find_by_idempotency_key(workflow: &WorkflowName, key: &str) -> Option<RunId>;
        definition(fingerprint: &Fingerprint) -> Option<Definition>;
        history(id: RunId) -> RunHistory;
        list(filter: &RunFilter) -> RunPage;
    }
    Store {
        claim(request: &ClaimRequest) -> ClaimBatch;
        claim_keys(request: &ClaimKeysRequest) -> Vec<ClaimResult>;
        list_due(request: &DueRequest) -> DuePage;
        extend_leases(leases: &[Lease], lease: Duration) -> Vec<LeaseState>;
        release_leases(leases: &[Lease], delay: Duration) -> ();
        triggers(workflows: &[WorkflowName]) -> TriggerRecords;
        compare_and_set_trigger(record: &TriggerRecord) -> bool;
        stranded(request: &StrandedRequest) -> Vec<RunId>;
        identity() -> Option<String>;
        prune(request: &PruneRequest) -> PruneBatch;
        transact(body: Box<dyn TransactionBody>) -> TransactionOutcome;
    }
}

/// The closure is called before each call that can fail.
#[async_trait]
impl<F: Fn(&'static str) -> Result<(), StoreError> + Send + Sync + 'static> StoreInterceptor for F {
    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        self(method)
    }
}

/// Heartbeats of the store behind an intercepted one.
struct InterceptedHeartbeats<I> {
    heartbeats: Box<dyn Heartbeats>,
    interceptor: Arc<I>,
}

#[async_trait]
impl<I: StoreInterceptor> Heartbeats for InterceptedHeartbeats<I> {
    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        self.interceptor.before("extend_leases").await?;
        let states = self.heartbeats.extend_leases(leases, lease).await?;
        self.interceptor.after("extend_leases").await?;
        Ok(states)
    }
}
