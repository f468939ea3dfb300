//! One episode: a fresh database, workers and clients on it, disturbances for a while, then calm until everything
//! rests, and the verdict on all of it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use squidmesh_core::{Squidmesh, ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::RedisServer;
use tokio::sync::Mutex as Turn;

use crate::client::{Clients, REST};
use crate::disturb::{Base, Scene};
use crate::failure::Failure;
use crate::log::Log;
use crate::postgres::PostgresServer;
use crate::proxy::Proxy;
use crate::rng::Rng;
use crate::tally::{self, Tally};
use crate::verdict::{Remains, ended, judge};
use crate::worker::{Orders, configured};
use crate::workers::{End, Workers};
use crate::workflows::ROWS;

/// What an episode runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Postgres, with work announced over Redis.
    Redis,
    /// Postgres, with workers that poll the store.
    Tokio,
    /// A SQLite file that several processes share.
    Sqlite,
}

/// The plan of an episode.
pub(crate) struct Plan<'a> {
    pub(crate) backend: Backend,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    pub(crate) defect: Option<&'a str>,
    pub(crate) directory: PathBuf,
    /// The number of earlier episodes: names its database.
    pub(crate) number: u64,
}

/// The result of an episode.
pub(crate) struct Outcome {
    pub(crate) broken: Vec<String>,
    pub(crate) tally: Tally,
    pub(crate) log: Log,
}

/// The duration of a claim: so short that thousands expire in an hour.
const LEASE: Duration = ms(1_000);

impl Plan<'_> {
    /// Runs the episode.
    pub(crate) async fn carry_out(&self, server: &Arc<Turn<PostgresServer>>) -> Result<Outcome, Failure> {
        let scene = self.set(server).await?;
        let direct = self.direct(&scene).await?;
        let orders = self.orders(&scene, 0);
        let clients = self.clients(&orders).await?;
        let mut asking = clients.open();
        let begun = Instant::now();
        let mut disturbances = scene.begin();
        while begun.elapsed() < self.time {
            tokio::time::sleep(ms(200)).await;
            if let Ok(open) = open_runs(&direct).await {
                clients.open.store(open, Ordering::Relaxed);
            }
        }
        // Disturbances that have begun are completed: a server that is down would stay so.
        clients.close();
        let turn = async {
            match &scene.postgres {
                Some(base) => Some(base.server.lock().await),
                None => None,
            }
        };
        let held = turn.await;
        let redis = match &scene.redis {
            Some(redis) => Some(redis.lock().await),
            None => None,
        };
        disturbances.shutdown().await;
        drop((held, redis));
        scene.log.note(format_args!("from here on nothing goes wrong"));
        let disturbed = begun.elapsed();
        scene.calm_down().await?;
        let restless = self.rest(&clients, &direct).await;
        asking.shutdown().await;
        self.judge(scene, clients, direct, disturbed, restless).await
    }

    async fn set(&self, server: &Arc<Turn<PostgresServer>>) -> Result<Arc<Scene>, Failure> {
        let log = Log::default();
        log.note(format_args!("{:?}, seed {}", self.backend, self.seed));
        let postgres = match self.backend {
            Backend::Sqlite => None,
            Backend::Redis | Backend::Tokio => {
                let database = format!("episode_{}", self.number);
                let held = server.lock().await;
                held.execute(&[format!("CREATE DATABASE {database}")]).await?;
                let mut options = ConnectOptions::new(PostgresServer::url(held.port, &database));
                options.max_connections(1).acquire_timeout(secs(5)).sqlx_logging(false);
                let direct = Database::connect(options).await?;
                let proxy = Proxy::to_postgres(held.port).await?;
                drop(held);
                Some(Base { server: server.clone(), proxy, database, direct })
            }
        };
        let redis = match self.backend {
            Backend::Redis => Some(RedisServer::start().await),
            Backend::Tokio | Backend::Sqlite => None,
        };
        let road = match &redis {
            Some(redis) => Some(Proxy::to_anything(redis.port()).await?),
            None => None,
        };
        let mut scene = Scene {
            seed: self.seed,
            lease: LEASE,
            workers: Arc::new(Workers::start(&[])),
            log,
            tally: Mutex::default(),
            late: Mutex::default(),
            postgres,
            redis: redis.map(Turn::new),
            road,
        };
        let (store, _) = self.urls(&scene, false);
        let opened = SeaOrmStore::connect(&store).await?;
        opened.connection().execute_unprepared(ROWS).await?;
        let orders: Vec<Orders> = (0..5).map(|place| self.orders(&scene, place)).collect();
        scene.workers = Arc::new(Workers::start(&orders));
        Ok(Arc::new(scene))
    }

    /// Returns the URLs of the store and of Redis, through the proxies or past them.
    fn urls(&self, scene: &Scene, through: bool) -> (String, Option<String>) {
        let store = match &scene.postgres {
            Some(base) if through => PostgresServer::url(base.proxy.port, &base.database),
            Some(base) => PostgresServer::url(base.proxy.target(), &base.database),
            None => format!("sqlite://{}", self.directory.join("torture.db").display()),
        };
        (store, scene.road.as_ref().map(|road| format!("redis://127.0.0.1:{}", road.port)))
    }

    /// Returns the orders of the worker at a place. The first has so few connections that its steps wait for each
    /// other.
    fn orders(&self, scene: &Scene, place: usize) -> Orders {
        let (store, redis) = self.urls(scene, true);
        Orders {
            process: 0,
            store,
            redis,
            directory: self.directory.clone(),
            lease: u64::try_from(LEASE.as_millis()).unwrap_or(1_000),
            connections: if place == 0 { 1 } else { 6 },
            defect: self.defect.map(str::to_owned),
        }
    }

    async fn direct(&self, scene: &Scene) -> Result<DatabaseConnection, Failure> {
        let mut options = ConnectOptions::new(self.urls(scene, false).0);
        options.max_connections(1).acquire_timeout(secs(2)).sqlx_logging(false);
        Ok(Database::connect(options).await?)
    }

    /// Creates the clients, which use the same proxies as the workers.
    async fn clients(&self, orders: &Orders) -> Result<Arc<Clients>, Failure> {
        let store = SeaOrmStore::builder(&orders.store).migrate(false).connect().await?;
        let builder = match &orders.redis {
            Some(redis) => Squidmesh::builder(store).executor(RedisExecutor::new(redis)?),
            None => Squidmesh::builder(store).executor(TokioExecutor::new()),
        };
        Ok(Clients::new(configured(builder, orders)?.build()?, self.seed))
    }

    /// Waits until no work is left. Returns what is left if that takes too long.
    async fn rest(&self, clients: &Clients, direct: &DatabaseConnection) -> Vec<String> {
        let begun = Instant::now();
        let rng = Rng::of(self.seed, "rest");
        loop {
            let looked = match (clients.restless().await, intents(direct).await) {
                (Ok(runs), Ok(intents)) if runs.is_empty() && intents == 0 => return Vec::new(),
                (Ok(runs), Ok(intents)) => {
                    let open: Vec<String> = runs
                        .iter()
                        .take(10)
                        .map(|run| format!("{} {} is {}", run.workflow, run.id, run.status))
                        .collect();
                    format!("{} runs are open, {intents} intents are left: {open:?}", runs.len())
                }
                (runs, intents) => format!("the store does not answer: {:?}, {:?}", runs.err(), intents.err()),
            };
            if begun.elapsed() > REST {
                return vec![format!("[everything comes to rest] after {REST:?} without a disturbance, {looked}")];
            }
            tokio::time::sleep(rng.around(ms(200))).await;
        }
    }

    async fn judge(
        &self,
        scene: Arc<Scene>,
        clients: Arc<Clients>,
        direct: DatabaseConnection,
        disturbed: Duration,
        mut broken: Vec<String>,
    ) -> Result<Outcome, Failure> {
        let calls = clients.calls();
        drop(clients);
        let scene = Arc::into_inner(scene).ok_or("a disturbance continues")?;
        let (store, _) = self.urls(&scene, false);
        let workers = Arc::into_inner(scene.workers).ok_or("a disturbance continues")?;
        let roll = workers.roll.clone();
        workers.stop().await?;
        let opened = SeaOrmStore::builder(&store).migrate(false).connect().await?;
        let mut tally = scene.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let remains = Remains { store: &opened, directory: &self.directory, calls, roll: &roll };
        broken.extend(judge(remains, &mut tally).await?);
        broken.extend(scene.late.into_inner().unwrap_or_else(PoisonError::into_inner));
        tally.add(tally::KILLS, ended(&roll, End::Killed));
        tally.add("workers taken along by a step", ended(&roll, End::Aborted));
        tally.add("starts of workers that found no database", u64::from(roll.unreachable.load(Ordering::Relaxed)));
        tally.add(tally::PAUSES, roll.pauses.lock().map_or(0, |pauses| pauses.len() as u64));
        tally.add("seconds of disturbance", disturbed.as_secs());
        if let Some(base) = &scene.postgres {
            let cut = &base.proxy.weather.cut;
            for (what, counter) in [
                (tally::CUT_WAVES, &cut.waves),
                (tally::CUT_COMMITS, &cut.commits),
                (tally::CUT_OTHERS, &cut.others),
                ("requests cut before they arrived", &cut.requests),
                ("connections that fell silent", &cut.silent),
            ] {
                tally.add(what, u64::from(counter.load(Ordering::Relaxed)));
            }
        }
        direct.close().await?;
        drop(opened);
        if let Some(base) = scene.postgres {
            base.direct.close().await?;
            drop(base.proxy);
            if broken.is_empty() {
                base.server.lock().await.execute(&[format!("DROP DATABASE {} WITH (FORCE)", base.database)]).await?;
            }
        }
        Ok(Outcome { broken, tally, log: scene.log })
    }
}

async fn open_runs(connection: &DatabaseConnection) -> Result<u64, Failure> {
    count(connection, "SELECT count(*) AS n FROM squidmesh_runs WHERE finished_at IS NULL AND status <> 'paused'").await
}

async fn intents(connection: &DatabaseConnection) -> Result<u64, Failure> {
    count(connection, "SELECT count(*) AS n FROM squidmesh_intents").await
}

async fn count(connection: &DatabaseConnection, sql: &str) -> Result<u64, Failure> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?.ok_or("a count has no row")?;
    Ok(u64::try_from(row.try_get_by::<i64, _>("n")?)?)
}
