//! A worker as a separate process: this program, called with `worker` and its orders.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squidmesh_core::command::SquidmeshBuilder;
use squidmesh_core::event::Event;
use squidmesh_core::port::EventSink;
use squidmesh_core::testing::InterceptedStore;
use squidmesh_core::{Squidmesh, ms};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tokio::io::AsyncReadExt;

use crate::defect::{self, Distorted};
use crate::event_log::LoggedEvent;
use crate::workflows::{self, Environment};
use squidmesh_tests::ledger::Ledger;

/// The maximum number of consecutive attempts of a step that may end with their worker.
pub(crate) const CRASH_LIMIT: u32 = 6;
/// The exit code of a worker that could not reach the database.
pub(crate) const UNREACHABLE: u8 = 3;

/// The orders of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) process: u32,
    pub(crate) store: String,
    pub(crate) redis: Option<String>,
    pub(crate) directory: PathBuf,
    pub(crate) lease: u64,
    pub(crate) connections: u32,
    pub(crate) defect: Option<String>,
}

impl Orders {
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    fn environment(&self) -> std::io::Result<Arc<Environment>> {
        let ledger = Ledger::open(&self.ledger(), self.process)?;
        Ok(Arc::new(Environment { ledger, lease: Duration::from_millis(self.lease) }))
    }
}

/// Applies the settings that workers and clients share.
pub(crate) fn configured(builder: SquidmeshBuilder, orders: &Orders) -> std::io::Result<SquidmeshBuilder> {
    let lease = Duration::from_millis(orders.lease);
    let events = OpenOptions::new().create(true).append(true).open(orders.directory.join("events"))?;
    let builder = workflows::all(&orders.environment()?).into_iter().fold(builder, SquidmeshBuilder::workflow);
    let builder = builder.event_sink(Witness(events));
    Ok(builder.configure(|config| {
        (config.lease, config.heartbeat, config.crash_limit) = (lease, lease / 4, CRASH_LIMIT);
    }))
}

/// Works until the input ends, unless the process is ended before.
pub(crate) async fn work(orders: Orders) -> ExitCode {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    // The log is a file too. When the disk is full, lines that cannot be written are lost, which is no reason to
    // panic.
    let subscriber = tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).with_ansi(false);
    subscriber.log_internal_errors(false).init();
    let builder = SeaOrmStore::builder(&orders.store).migrate(false).max_connections(orders.connections);
    let store = match builder.connect().await {
        Ok(store) => store,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::from(UNREACHABLE);
        }
    };
    let builder = match orders.defect.as_deref().and_then(defect::named) {
        Some(mutation) => Squidmesh::builder(InterceptedStore::new(store, Distorted(mutation))),
        None => Squidmesh::builder(store),
    };
    let builder = match &orders.redis {
        Some(redis) => {
            let executor = RedisExecutor::new(redis).expect("the URL is one");
            builder.executor(executor.concurrency(8).sweep_interval(ms(1_500)))
        }
        None => builder.executor(TokioExecutor::new().concurrency(8)),
    };
    let builder = configured(builder, &orders).expect("the files of the episode can be opened");
    let mesh = builder.build().expect("the settings are sound");
    println!("ready");
    let closed = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    let worked = mesh.run_workers(closed).await;
    if let Err(error) = &worked {
        let _ = writeln!(std::io::stderr(), "the workers ended: {error}");
    }
    // Reading standard input blocks a thread that no shutdown ends.
    std::process::exit(i32::from(worked.is_err()));
}

/// Keeps the events of one run in four.
struct Witness(std::fs::File);

impl EventSink for Witness {
    fn emit(&self, event: &Event) {
        if event.run_id.as_uuid().as_u128().is_multiple_of(4)
            && let Some(logged) = LoggedEvent::of(event)
            && let Ok(mut line) = serde_json::to_vec(&logged)
        {
            line.push(b'\n');
            // A single write, so that no line is torn; where the disk is full there is none.
            let _ = (&self.0).write_all(&line);
        }
    }
}
