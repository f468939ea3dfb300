//! Sends and receives notifications for a handle of the store.
//!
//! Within this process, a notification goes from handle to handle. On Postgres, it goes from process to process by
//! `NOTIFY`, in a transaction of its own and a few times a second at most: `NOTIFY` takes a lock of the whole server
//! when its transaction commits, and a commit of work must not wait for that. On SQLite, nothing is sent: listeners
//! see that the files have changed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{ConnectionTrait, DbBackend};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

#[cfg(feature = "sqlite")]
use super::files;
use super::notifications::{EndListening, Notifications};
#[cfg(feature = "postgres")]
use super::postgres;
use crate::clock::StoreClock;
use crate::database::Database;
use crate::pool::calls::Calls;

/// A handle's view of the notifications. A handle does not receive its own.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    /// The last notification that this handle has received.
    received: AtomicU64,
}

/// The state that the handles of one store share.
struct Shared {
    transport: Transport,
    connection: Calls,
    notifications: Arc<Notifications>,
    listener: Mutex<Option<AbortHandle>>,
    sender: Mutex<Option<AbortHandle>>,
}

/// How processes that share the database notify each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Postgres,
    Files,
    /// A given clock moves due times without a notification, so listeners must poll.
    None,
}

impl Notifier {
    pub(crate) fn new(database: &Database) -> Self {
        let transport = match (&database.clock, database.writer().get_database_backend()) {
            (StoreClock::Given(_), _) => Transport::None,
            (StoreClock::Database, DbBackend::Sqlite) => Transport::Files,
            (StoreClock::Database, _) => Transport::Postgres,
        };
        let (connection, notifications) = (database.reader().clone(), Arc::new(Notifications::new()));
        let (listener, sender) = (Mutex::default(), Mutex::default());
        let shared = Shared { transport, connection, notifications, listener, sender };
        Notifier { shared: Arc::new(shared), received: AtomicU64::new(0) }
    }

    /// Notifies every other handle, here and in other processes. Never blocks.
    pub(crate) fn notify(&self) {
        let now = self.shared.notifications.add();
        // Unless it missed an earlier notification.
        let _ = self.received.compare_exchange(now.wrapping_sub(1), now, Ordering::SeqCst, Ordering::SeqCst);
        if self.shared.transport == Transport::Postgres {
            self.shared.notifications.outgoing.notify_one();
            self.shared.ensure_sending();
        }
    }

    /// Completes when another handle has sent a notification since the last call.
    pub(crate) async fn notified(&self) {
        self.shared.ensure_listening();
        let last = self.received.load(Ordering::SeqCst);
        let mut count = self.shared.notifications.count.subscribe();
        if let Ok(now) = count.wait_for(|now| *now != last).await {
            self.received.store(*now, Ordering::SeqCst);
        }
    }

    /// Returns whether notifications of other processes are currently received.
    pub(crate) fn is_listening(&self) -> bool {
        self.shared.notifications.listening.load(Ordering::SeqCst)
    }
}

/// A new handle has received all notifications that were sent before it was created.
impl Clone for Notifier {
    fn clone(&self) -> Self {
        let received = AtomicU64::new(*self.shared.notifications.count.borrow());
        Notifier { shared: Arc::clone(&self.shared), received }
    }
}

impl Shared {
    fn ensure_listening(&self) {
        let (transport, connection) = (self.transport, self.connection.clone());
        let notifications = Arc::clone(&self.notifications);
        ensure_running(&self.listener, async move {
            let end = EndListening(Arc::clone(&notifications));
            match transport {
                #[cfg(feature = "postgres")]
                Transport::Postgres => postgres::listen(&connection, &notifications).await,
                #[cfg(feature = "sqlite")]
                Transport::Files => files::watch(&connection, &notifications).await,
                _ => {}
            }
            drop((end, connection));
            std::future::pending::<()>().await;
        });
    }

    fn ensure_sending(&self) {
        #[cfg(feature = "postgres")]
        {
            let (connection, notifications) = (self.connection.clone(), Arc::clone(&self.notifications));
            ensure_running(&self.sender, async move { postgres::send(&connection, &notifications).await });
        }
    }
}

/// Ensures that a task runs, if there is a runtime to run it.
fn ensure_running(slot: &Mutex<Option<AbortHandle>>, task: impl Future<Output = ()> + Send + 'static) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_none_or(AbortHandle::is_finished)
        && let Ok(runtime) = Handle::try_current()
    {
        *slot = Some(runtime.spawn(task).abort_handle());
    }
}

/// The tasks end with the last handle.
impl Drop for Shared {
    fn drop(&mut self) {
        for task in [&self.listener, &self.sender] {
            if let Some(task) = task.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("is_listening", &self.is_listening()).finish_non_exhaustive()
    }
}
