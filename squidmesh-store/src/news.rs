//! News of work: telling other processes that some was committed, and hearing it from them.
//!
//! What is heard is only a reason to look into the database; whoever hears nothing finds the same a little later. In this process a
//! word goes from handle to handle. On Postgres it goes by `NOTIFY` from process to process, in a transaction of its own and a few
//! times a second at most: `NOTIFY` takes a lock of the whole server when its transaction commits, and a commit of work must not wait for
//! that. On SQLite nothing need be told: those who listen see that the files have changed.

#[cfg(feature = "sqlite")]
mod files;
#[cfg(feature = "postgres")]
mod notifications;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{DatabaseConnection, DbBackend};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::clock::StoreClock;
use crate::database::Database;

/// A handle's share in the news. What one handle tells, it does not hear itself.
pub(crate) struct News {
    desk: Arc<Desk>,
    /// The last that this handle has heard.
    heard: AtomicU64,
}

/// What the handles on one store share.
struct Desk {
    wire: Wire,
    connection: DatabaseConnection,
    told: Arc<Told>,
    listening: Mutex<Option<AbortHandle>>,
    telling: Mutex<Option<AbortHandle>>,
}

/// What is known here, and what is to be known elsewhere.
struct Told {
    /// Who tells: fresh in each process.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only notifications carry it"))]
    by: Uuid,
    /// Counts what was told.
    news: watch::Sender<u64>,
    /// Whether what other processes tell is heard at present.
    hears: AtomicBool,
    /// Whether there is something that other processes have not been told.
    outward: Notify,
}

/// How processes that share the database tell each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Notifications,
    Files,
    /// A clock that is given moves due times without a word: whoever waits for them must look.
    Cut,
}

impl News {
    pub(crate) fn of(database: &Database) -> Self {
        let wire = match (database.clock(), database.writer().get_database_backend()) {
            (StoreClock::Given(_), _) => Wire::Cut,
            (StoreClock::Database, DbBackend::Sqlite) => Wire::Files,
            (StoreClock::Database, _) => Wire::Notifications,
        };
        let told = Told {
            by: Uuid::new_v4(),
            news: watch::Sender::new(0),
            hears: AtomicBool::new(false),
            outward: Notify::new(),
        };
        let (connection, told) = (database.reader().clone(), Arc::new(told));
        let desk = Desk { wire, connection, told, listening: Mutex::default(), telling: Mutex::default() };
        News { desk: Arc::new(desk), heard: AtomicU64::new(0) }
    }

    /// Tells every other handle, here and in other processes. Never blocks.
    pub(crate) fn tell(&self) {
        let now = self.desk.told.say();
        // Unless it missed something before that.
        let _ = self.heard.compare_exchange(now.wrapping_sub(1), now, Ordering::SeqCst, Ordering::SeqCst);
        if self.desk.wire == Wire::Notifications {
            self.desk.told.outward.notify_one();
            self.desk.keep_telling();
        }
    }

    /// Completes when another handle has told something since this was asked last.
    pub(crate) async fn hear(&self) {
        self.desk.keep_listening();
        let last = self.heard.load(Ordering::SeqCst);
        let mut news = self.desk.told.news.subscribe();
        if let Ok(now) = news.wait_for(|now| *now != last).await {
            self.heard.store(*now, Ordering::SeqCst);
        }
    }

    /// Whether other processes are heard at present.
    pub(crate) fn hears(&self) -> bool {
        self.desk.told.hears.load(Ordering::SeqCst)
    }
}

/// A new handle has heard all that was told before it was made.
impl Clone for News {
    fn clone(&self) -> Self {
        let heard = AtomicU64::new(*self.desk.told.news.borrow());
        News { desk: Arc::clone(&self.desk), heard }
    }
}

impl Desk {
    fn keep_listening(&self) {
        let (wire, connection, told) = (self.wire, self.connection.clone(), Arc::clone(&self.told));
        keep(&self.listening, async move {
            let deaf = Deaf(Arc::clone(&told));
            match wire {
                #[cfg(feature = "postgres")]
                Wire::Notifications => notifications::listen(&connection, &told).await,
                #[cfg(feature = "sqlite")]
                Wire::Files => files::watch(&connection, &told).await,
                _ => {}
            }
            drop((deaf, connection));
            std::future::pending::<()>().await;
        });
    }

    fn keep_telling(&self) {
        #[cfg(feature = "postgres")]
        {
            let (connection, told) = (self.connection.clone(), Arc::clone(&self.told));
            keep(&self.telling, async move { notifications::tell(&connection, &told).await });
        }
    }
}

/// Sees to it that a task runs, if there is a runtime to run it.
fn keep(slot: &Mutex<Option<AbortHandle>>, task: impl Future<Output = ()> + Send + 'static) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_none_or(AbortHandle::is_finished)
        && let Ok(runtime) = Handle::try_current()
    {
        *slot = Some(runtime.spawn(task).abort_handle());
    }
}

/// With the last handle the tasks end.
impl Drop for Desk {
    fn drop(&mut self) {
        for task in [&self.listening, &self.telling] {
            if let Some(task) = task.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
        }
    }
}

impl Told {
    /// There is news, the so-manieth.
    fn say(&self) -> u64 {
        let mut now = 0;
        self.news.send_modify(|count| {
            *count = count.wrapping_add(1);
            now = *count;
        });
        now
    }

    /// From now on what others tell is heard. What they told before was missed, so that it is as if they had just told something.
    fn begin_to_hear(&self) {
        self.hears.store(true, Ordering::SeqCst);
        self.say();
    }
}

/// Whoever listens no more hears nothing, however it ended.
struct Deaf(Arc<Told>);

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.hears.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").field("hears", &self.hears()).finish_non_exhaustive()
    }
}
