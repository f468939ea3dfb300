//! The shop as a separate process, with its own home: a directory and a database.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

#[cfg(feature = "postgres")]
use sea_orm::{ConnectionTrait, Database};
use squidmesh_examples::orders;
use squidmesh_examples::scenario::Scenario;
use tempfile::TempDir;

/// The number of plain orders of a shop: enough to be killed midway, few enough for a test.
const ORDERS: usize = 24;

/// How long a dead process keeps its steps, in milliseconds: on a slow machine a live process must not be taken for
/// dead.
const LEASE_MS: &str = "2500";

/// The number of concurrent steps of a shop: several shops share the machine.
const CONCURRENCY: &str = "8";

/// The directory and database of a shop.
pub(crate) struct Home {
    scenario: Scenario,
    files: TempDir,
    database: String,
    /// Additional arguments on the command line.
    more: Vec<String>,
}

/// The output of a shop that has finished.
pub(crate) struct Ran {
    /// The outcome of all orders.
    pub(crate) summary: String,
    /// What happened in this execution.
    pub(crate) journey: String,
}

impl Home {
    pub(crate) fn on_sqlite(scenario: Scenario) -> Home {
        let files = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", files.path().join("shop.db").display());
        Home { scenario, files, database, more: Vec::new() }
    }

    /// Creates a new database on the server that the variable names.
    #[cfg(feature = "postgres")]
    pub(crate) fn on_postgres(scenario: Scenario) -> Home {
        let Ok(server) = std::env::var("SQUIDMESH_TEST_POSTGRES") else {
            panic!("SQUIDMESH_TEST_POSTGRES is not set: run cargo xtask test");
        };
        let name = format!("shop_{}", uuid::Uuid::new_v4().simple());
        let create = async {
            let server = Database::connect(&server).await.unwrap();
            server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(create);
        let (server, _) = server.rsplit_once('/').expect("the URL of the server ends with a database");
        let (files, database) = (tempfile::tempdir().unwrap(), format!("{server}/{name}"));
        Home { scenario, files, database, more: Vec::new() }
    }

    /// Adds worker processes.
    #[must_use]
    pub(crate) fn with_workers(mut self, workers: usize) -> Home {
        self.more.extend(["--workers".to_owned(), workers.to_string()]);
        self
    }

    /// Announces work over the Redis that the variable names. Shops that run at the same time need separate numbers,
    /// as they have the same workflows.
    #[cfg(feature = "redis")]
    #[must_use]
    pub(crate) fn over_redis(mut self, number: u8) -> Home {
        let Ok(server) = std::env::var("SQUIDMESH_TEST_REDIS") else {
            panic!("SQUIDMESH_TEST_REDIS is not set: run cargo xtask test");
        };
        self.more.extend(["--redis".to_owned(), format!("{server}/{number}")]);
        self
    }

    /// Runs the shop until it has finished successfully.
    pub(crate) fn run(&self) -> Ran {
        Home::ran(self.start())
    }

    /// Runs the shop until it has finished successfully, although one of its workers is killed after `moment`.
    pub(crate) fn run_and_kill_a_worker_after(&self, moment: Duration) -> (Ran, bool) {
        let mut shop = self.start();
        thread::sleep(moment); // as below
        // A shop that has finished already has no worker to kill.
        while shop.try_wait().unwrap().is_none() {
            if let Some(worker) = children(shop.id()).first() {
                let killed = Command::new("kill").args(["-KILL", worker]).status().unwrap().success();
                return (Home::ran(shop), killed);
            }
            thread::sleep(Duration::from_millis(5));
        }
        (Home::ran(shop), false)
    }

    fn ran(shop: Child) -> Ran {
        let Output { status, stdout, stderr } = shop.wait_with_output().unwrap();
        let printed = String::from_utf8(stdout).unwrap();
        assert!(status.success(), "{status}: {printed}{}", String::from_utf8_lossy(&stderr));
        let (journey, summary) = printed.split_at(printed.find("orders   ").expect("a summary is printed"));
        Ran { summary: summary.to_owned(), journey: journey.to_owned() }
    }

    /// Starts the shop and kills it after `moment`, unless it has finished before.
    pub(crate) fn kill_after(&self, moment: Duration) {
        let mut shop = self.start();
        thread::sleep(moment); // the moment of the kill is what is tried, so it must be by the clock
        shop.kill().unwrap();
        shop.wait().unwrap();
    }

    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_checkout"))
            .args(["--quiet", "--lease-ms", LEASE_MS, "--concurrency", CONCURRENCY, "--store", &self.database])
            .args(["--scenario", self.scenario.name()])
            .arg("--files")
            .arg(self.files.path())
            .arg("--orders")
            .arg(self.orders())
            .args(&self.more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn orders(&self) -> PathBuf {
        let path = self.files.path().join("few-orders.jsonl");
        if !path.exists() {
            orders::write(&path, &self.scenario.orders(ORDERS)).unwrap();
        }
        path
    }
}

/// Returns the child processes of a process: each is listed with the thread that started it.
fn children(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}
