//! `LISTEN` and `NOTIFY`: processes that share a Postgres tell each other of work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sea_orm::DatabaseConnection;
use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::Told;
use crate::sql::Sql;

/// The channel of all stores in a database. What is said there is only who says it.
const CHANNEL: &str = "squidmesh_work";
/// The time between two words to the others at least, whatever is committed meanwhile.
const BREATH: Duration = Duration::from_millis(100);
/// The pause after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells the others, for as long as it is polled.
pub(super) async fn tell(connection: &DatabaseConnection, told: &Told) {
    loop {
        told.outward.notified().await;
        let sql = Sql::on(connection).push("SELECT pg_notify(").bind(CHANNEL).push(", ").bind(told.by.to_string());
        if let Err(error) = sql.push(")").execute(connection).await {
            tracing::debug!(target: "squidmesh", %error, "other processes could not be told of work; they are told again");
            told.outward.notify_one();
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Listens to the others on a connection of its own, for as long as it is polled.
pub(super) async fn listen(connection: &DatabaseConnection, told: &Told) {
    let options = connection.get_postgres_connection_pool().connect_options();
    loop {
        if let Err(error) = listen_once(&options, told).await {
            tracing::debug!(target: "squidmesh", %error, "other processes are not heard for the moment");
        }
        told.hears.store(false, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the connection is lost.
async fn listen_once(options: &Arc<PgConnectOptions>, told: &Told) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(PATIENCE);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with((**options).clone())).await?;
    listener.ignore_pool_close_event(true);
    // A connection that was lost is made anew here, so that it is known from when on somebody listens again.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    told.begin_to_hear();
    let own = told.by.to_string();
    while let Some(word) = listener.try_recv().await? {
        if word.payload() != own {
            told.say();
        }
    }
    Ok(())
}
