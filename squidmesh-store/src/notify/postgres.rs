//! `LISTEN` and `NOTIFY`: processes that share a Postgres database notify each other of work.

use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::sqlx::Executor;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::notifications::Notifications;
use crate::error::silent;
use crate::pool::calls::Calls;
use crate::sql::Sql;

/// The channel of all stores in a database. A message contains only its sender.
const CHANNEL: &str = "squidmesh_work";
/// The minimum time between two notifications of other processes, regardless of the number of commits.
const MIN_SEND_INTERVAL: Duration = Duration::from_millis(100);
/// The pause after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After a silence of this length, the server is probed.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// How long the answer to a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Notifies other processes, for as long as it is polled.
pub(super) async fn send(connection: &Calls, notifications: &Notifications) {
    loop {
        notifications.outgoing.notified().await;
        let sql = Sql::on(connection)
            .push("SELECT pg_notify(")
            .bind(CHANNEL)
            .push(", ")
            .bind(notifications.sender.to_string());
        if let Err(error) = sql.push(")").execute(connection).await {
            tracing::debug!(target: "squidmesh", %error, "cannot notify other processes of work; retrying");
            notifications.outgoing.notify_one();
            tokio::time::sleep(RETRY_DELAY).await;
        }
        tokio::time::sleep(MIN_SEND_INTERVAL).await;
    }
}

/// Listens to other processes on a connection of its own, for as long as it is polled.
pub(super) async fn listen(connection: &Calls, notifications: &Notifications) {
    let Calls::Postgres(own) = connection else { return };
    loop {
        if let Err(error) = listen_once(&own.options(), notifications).await {
            tracing::debug!(target: "squidmesh", %error, "cannot listen to other processes; retrying");
        }
        notifications.listening_ended();
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Listens until the connection is lost, or does not answer.
async fn listen_once(options: &PgConnectOptions, notifications: &Notifications) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.acquire_timeout(CONNECT_TIMEOUT);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.ignore_pool_close_event(true);
    // A lost connection is reopened here, so that it is known when listening starts again.
    listener.eager_reconnect(false);
    answered(listener.listen(CHANNEL)).await?;
    notifications.listening_started();
    let own = notifications.sender.to_string();
    loop {
        match timeout(PROBE_AFTER, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if notification.payload() != own {
                    notifications.add();
                }
            }
            Ok(ended) => return ended.map(drop),
            // Either no process sent anything, or the connection is dead: only its server knows.
            Err(_) => answered(listener.execute("SELECT 1")).await.map(drop)?,
        }
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(PROBE_TIMEOUT, call).await.unwrap_or_else(|_| Err(silent()))
}
