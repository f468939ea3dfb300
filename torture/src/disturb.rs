//! The disturbances of an episode's processes and servers: each kind on its own, at times that the seed decides.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use squidmesh_core::{ms, secs};
use squidmesh_tests::RedisServer;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::log::Log;
use crate::postgres::PostgresServer;
use crate::proxy::{Proxy, Wanted};
use crate::rng::Rng;
use crate::tally::{self, Tally};
use crate::wire::Change;
use crate::workers::Workers;
use squidmesh_tests::ledger::now;

/// The maximum file size while a disk is full: a whole number of lines of the ledger.
const FULL: u64 = 64 * 1_024;

/// Everything that can be disturbed, and the records about it.
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) lease: Duration,
    pub(crate) workers: Arc<Workers>,
    pub(crate) log: Log,
    pub(crate) tally: Mutex<Tally>,
    /// The operations that took longer than they may.
    pub(crate) late: Mutex<Vec<String>>,
    pub(crate) postgres: Option<Base>,
    pub(crate) redis: Option<Turn<RedisServer>>,
    /// The proxy to Redis.
    pub(crate) road: Option<Proxy>,
}

/// Postgres, the proxy to it, and a connection that bypasses the proxy.
pub(crate) struct Base {
    pub(crate) server: Arc<Turn<PostgresServer>>,
    pub(crate) proxy: Proxy,
    pub(crate) database: String,
    pub(crate) direct: DatabaseConnection,
}

impl Scene {
    /// Starts every kind of disturbance that applies.
    pub(crate) fn begin(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        macro_rules! every {
            ($name:literal, $mean:expr, $deed:ident) => {{
                let scene = self.clone();
                tasks.spawn(async move {
                    let rng = Rng::of(scene.seed, $name);
                    loop {
                        tokio::time::sleep(rng.around($mean)).await;
                        scene.$deed(&rng).await;
                    }
                });
            }};
        }
        every!("kill", ms(1_900), kill);
        every!("pause", ms(2_000), pause);
        every!("load", secs(14), load);
        every!("disk", secs(16), fill_disk);
        if self.postgres.is_some() {
            every!("cut", ms(1_200), cut);
            every!("silence", secs(9), fall_silent);
            every!("hush", secs(13), hush);
            every!("latency", secs(8), slow_down);
            every!("partition", secs(15), part);
            every!("postgres", secs(11), restart_postgres);
            every!("read-only", secs(17), forbid_writing);
        }
        if self.redis.is_some() {
            every!("redis", secs(7), restart_redis);
            every!("redis road", secs(6), cut_redis);
            every!("redis hush", secs(12), hush_redis);
        }
        tasks
    }

    /// Ends every lasting disturbance.
    pub(crate) async fn calm_down(&self) -> Result<(), Failure> {
        for proxy in self.postgres.iter().map(|base| &base.proxy).chain(&self.road) {
            proxy.weather.clear_up();
        }
        if let Some(base) = &self.postgres {
            self.allow_writing(base).await?;
        }
        for place in 0..self.workers.places.len() {
            self.workers.limit(place, None).await;
        }
        Ok(())
    }

    fn count(&self, what: &'static str, count: u64) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(what, count);
    }

    fn took(&self, what: &'static str, time: Duration) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).took(what, time);
    }

    fn place(&self, rng: &Rng) -> usize {
        usize::try_from(rng.below(self.workers.places.len() as u64)).unwrap_or(0)
    }

    async fn kill(&self, rng: &Rng) {
        for _ in 0..20 {
            let place = self.place(rng);
            if self.workers.kill(place).await {
                self.log.note(format_args!("worker {place} is killed"));
                return;
            }
            tokio::time::sleep(ms(50)).await;
        }
    }

    async fn pause(&self, rng: &Rng) {
        let place = self.place(rng);
        let time = self.lease + ms(300 + rng.below(1_500));
        if self.workers.pause(place, time).await {
            self.log.note(format_args!("worker {place} stands still for {time:?}"));
            tokio::time::sleep(time).await;
        }
    }

    /// Keeps the processors busy.
    async fn load(&self, rng: &Rng) {
        let until = Instant::now() + ms(1_000 + rng.below(3_000));
        let busy = std::thread::available_parallelism().map_or(2, usize::from);
        self.log.note(format_args!("the machine is busy"));
        self.count("times that the machine was kept busy", 1);
        for _ in 0..busy {
            std::thread::spawn(move || {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            });
        }
        tokio::time::sleep(until.saturating_duration_since(Instant::now())).await;
    }

    /// Keeps files from growing: on Postgres those of the server processes, which gives the server up when its log
    /// cannot be written; on SQLite those of a worker.
    async fn fill_disk(&self, rng: &Rng) {
        let Some(base) = &self.postgres else {
            let place = self.place(rng);
            if self.workers.limit(place, Some(FULL)).await {
                self.log.note(format_args!("worker {place} cannot write"));
                self.count("times that a worker's disk was full", 1);
                tokio::time::sleep(ms(500 + rng.below(1_500))).await;
                self.workers.limit(place, None).await;
            }
            return;
        };
        let _turn = base.server.lock().await;
        let sql = "SELECT string_agg(pid::text, ' ') AS pids FROM pg_stat_activity WHERE backend_type = 'client backend' AND \
                   datname = current_database() AND pid <> pg_backend_pid()";
        let statement = Statement::from_string(base.direct.get_database_backend(), sql);
        let Ok(Some(row)) = base.direct.query_one_raw(statement).await else { return };
        let Ok(Some(pids)) = row.try_get_by::<Option<String>, _>("pids") else { return };
        self.log.note(format_args!("the disk of Postgres is full"));
        self.count("times that the disk of Postgres was full", 1);
        for pid in pids.split(' ') {
            let limit = format!("--fsize={FULL}:unlimited");
            let _ = tokio::process::Command::new("prlimit")
                .args(["--pid", pid, &limit])
                .stderr(std::process::Stdio::null())
                .status()
                .await;
        }
        // The server ends its processes and recovers; the new processes have space.
        tokio::time::sleep(ms(1_500)).await;
        self.until_progress(base, "from a full disk of Postgres to progress").await;
    }

    async fn cut(&self, rng: &Rng) {
        let Some(base) = &self.postgres else { return };
        let wanted = match rng.below(10) {
            0..=5 => Wanted::Answer(Change::Wave),
            6 => Wanted::Answer(Change::Commit),
            7 | 8 => Wanted::Answer(Change::Other),
            _ => Wanted::Request,
        };
        base.proxy.weather.want(wanted);
        self.log.note(format_args!("wanted of the next connection: {wanted:?}"));
    }

    async fn fall_silent(&self, rng: &Rng) {
        let Some(base) = &self.postgres else { return };
        base.proxy.weather.silence.store(500 + rng.below(9_000), Ordering::Relaxed);
        base.proxy.weather.want(Wanted::Silence);
        self.log.note(format_args!("a connection is to fall silent"));
    }

    /// Silences all open connections permanently: only a client that drops its connection continues.
    async fn hush(&self, _: &Rng) {
        let Some(base) = &self.postgres else { return };
        let _turn = base.server.lock().await;
        self.log.note(format_args!("all connections to Postgres fall silent for ever"));
        self.count("times that all connections to Postgres fell silent for ever", 1);
        base.proxy.weather.hush_all();
        self.until_progress(base, "from silence of all connections to progress").await;
    }

    async fn hush_redis(&self, _: &Rng) {
        let Some(road) = &self.road else { return };
        self.log.note(format_args!("all connections to Redis fall silent for ever"));
        self.count("times that all connections to Redis fell silent for ever", 1);
        road.weather.hush_all();
    }

    async fn slow_down(&self, rng: &Rng) {
        let Some(base) = &self.postgres else { return };
        let latency = 5 + rng.below(120);
        self.log.note(format_args!("everything takes {latency} ms longer, each way"));
        self.count("times that the way to Postgres was slow", 1);
        base.proxy.weather.latency.store(latency, Ordering::Relaxed);
        tokio::time::sleep(ms(500 + rng.below(2_000))).await;
        base.proxy.weather.latency.store(0, Ordering::Relaxed);
    }

    async fn part(&self, _: &Rng) {
        let Some(base) = &self.postgres else { return };
        self.log.note(format_args!("all connections to Postgres are cut"));
        self.count("times that all connections to Postgres were cut", 1);
        base.proxy.weather.cut_all();
    }

    async fn restart_postgres(&self, rng: &Rng) {
        let Some(base) = &self.postgres else { return };
        let mut server = base.server.lock().await;
        self.log.note(format_args!("Postgres is killed"));
        if let Err(error) = server.kill().await {
            return self.fail(format!("Postgres cannot be killed: {error}"));
        }
        if rng.one_in(3) {
            tokio::time::sleep(ms(rng.below(2_000))).await;
        }
        if let Err(error) = server.restart().await {
            return self.fail(format!("Postgres does not start again: {error}"));
        }
        self.log.note(format_args!("Postgres is back"));
        self.count(tally::POSTGRES, 1);
        self.until_progress(base, "from a restart of Postgres to progress").await;
    }

    fn fail(&self, what: String) {
        self.log.note(format_args!("{what}"));
        self.late.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Waits until a step is begun or ended after this call.
    async fn until_progress(&self, base: &Base, what: &'static str) {
        let (begun, from) = (Instant::now(), now());
        let sql = format!(
            "SELECT count(*) AS n FROM squidmesh_step_runs WHERE attempt_started_at > {from} OR finished_at > {from}"
        );
        loop {
            let statement = Statement::from_string(base.direct.get_database_backend(), &sql);
            let moved = match base.direct.query_one_raw(statement).await {
                Ok(Some(row)) => row.try_get_by::<i64, _>("n").unwrap_or(0),
                _ => 0,
            };
            let time = begun.elapsed();
            if moved > 0 {
                self.log.note(format_args!("{what}: {time:?}"));
                return self.took(what, time);
            }
            if time > secs(10) {
                return self.fail(format!("{what}: more than {time:?}"));
            }
            tokio::time::sleep(ms(20)).await;
        }
    }

    async fn forbid_writing(&self, rng: &Rng) {
        let Some(base) = &self.postgres else { return };
        let _turn = base.server.lock().await;
        let forbidden = self.set_read_only(base, "SET default_transaction_read_only = on").await;
        if forbidden.is_ok() {
            self.log.note(format_args!("the database is read-only"));
            self.count("times that the database was read-only", 1);
            tokio::time::sleep(ms(500 + rng.below(2_000))).await;
        }
        let mut allowed = self.allow_writing(base).await;
        for _ in 0..20 {
            if allowed.is_ok() {
                break;
            }
            tokio::time::sleep(ms(100)).await;
            allowed = self.allow_writing(base).await;
        }
        if let Err(error) = allowed {
            return self.fail(format!("the database stays read-only: {error}"));
        }
        self.until_progress(base, "from read-only to progress").await;
    }

    async fn allow_writing(&self, base: &Base) -> Result<(), Failure> {
        self.set_read_only(base, "RESET default_transaction_read_only").await
    }

    /// As after a manual failover: the setting holds for new connections, and the present ones are ended.
    async fn set_read_only(&self, base: &Base, how: &str) -> Result<(), Failure> {
        let writable = "SET default_transaction_read_only = off".to_owned();
        let alter = format!("ALTER DATABASE {} {how}", base.database);
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
            base.database
        );
        base.direct.execute_unprepared(&[writable, alter, end].join("; ")).await?;
        Ok(())
    }

    async fn restart_redis(&self, rng: &Rng) {
        let Some(redis) = &self.redis else { return };
        let mut redis = redis.lock().await;
        self.log.note(format_args!("Redis is killed"));
        redis.kill();
        if rng.one_in(3) {
            tokio::time::sleep(ms(rng.below(2_000))).await;
        }
        redis.restart().await;
        self.log.note(format_args!("Redis is back, with nothing in it"));
        self.count(tally::REDIS, 1);
    }

    async fn cut_redis(&self, rng: &Rng) {
        let Some(road) = &self.road else { return };
        if rng.one_in(2) {
            self.count("times that all connections to Redis were cut", 1);
            self.log.note(format_args!("all connections to Redis are cut"));
            return road.weather.cut_all();
        }
        self.count("times that the way to Redis was slow", 1);
        self.log.note(format_args!("the way to Redis is slow"));
        road.weather.latency.store(20 + rng.below(400), Ordering::Relaxed);
        tokio::time::sleep(ms(500 + rng.below(2_000))).await;
        road.weather.latency.store(0, Ordering::Relaxed);
    }
}
