//! The shop as a process: opens everything, works until no order is open, and prints the summary.
//!
//! The only place where store, executor, workflows and gateway meet.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sea_orm::DbErr;
use squidmesh_core::command::ConfigError;
use squidmesh_core::port::{Executor, ExecutorError};
use squidmesh_core::workflow::{CancelReason, Cancellation};
use squidmesh_core::{DefinitionErrors, Squidmesh};
use tokio::task::JoinError;

use crate::checkout::checkout;
use crate::crew::{self, CrewError};
use crate::database::{self, DatabaseError};
use crate::executor::{ExecutorChoice, executor};
use crate::fulfilment::fulfilment;
use crate::gateway::{GatewayError, GatewayServer, HttpGateway};
use crate::intake::{Intake, IntakeError, take_in};
use crate::mesh_slot::MeshSlot;
use crate::operator::{Operator, OperatorError};
use crate::options::{Options, SAMPLE};
use crate::orders::{self, Order, OrdersError};
use crate::progress::{Progress, ProgressError, bar};
use crate::reviewers::review;
use crate::runs::RunsError;
use crate::settlement::{NightError, let_a_night_fall, settlement};
use crate::shop::{Shop, ShopError};
use crate::summary::{Facts, FactsError, Summary};

/// How the process ended.
#[derive(Debug)]
pub enum Ending {
    /// No order is open any more.
    Done {
        /// What happened in this process.
        journey: Journey,
        /// The outcome of all orders.
        summary: Box<Summary>,
    },
    /// It was asked to stop before that. Started again, it continues.
    Interrupted,
}

/// What happened meanwhile, in this process.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The result of taking in the file of orders.
    pub intake: Intake,
    /// The number of step attempts that completed.
    pub completed: u64,
    /// The number of step attempts that failed.
    pub failed: u64,
    /// What the operator learned about runs that waited or failed.
    pub reasons: Vec<String>,
}

/// Opens the shop, works until no order is open or until `stop`, and sums up.
///
/// # Errors
/// Returns a [`HostError`] that names the part that failed. Started again, the shop continues.
pub async fn run(options: &Options, stop: impl Future<Output = ()>) -> Result<Ending, HostError> {
    let executor = executor(options)?;
    let files = options.files();
    std::fs::create_dir_all(&files).map_err(HostError::Files)?;
    let orders = read_orders(options)?;

    let shop = Shop::open(database::open(options).await?).await?;
    let journal = files.join(format!("gateway-{}.jsonl", shop.merchant().await?));
    let server = GatewayServer::open(&journal).await.map_err(HostError::Files)?;
    let gateway = Arc::new(HttpGateway::at(server.address())?);

    let progress = Progress::default();
    let mesh = open_mesh(options, executor, &shop, gateway, &progress)?;

    let closing = Cancellation::new();
    let mut workers = tokio::spawn({
        let (mesh, closing, progress, options) = (mesh.clone(), closing.clone(), progress.clone(), options.clone());
        let gateway = server.address();
        async move {
            let closed = async {
                closing.cancelled().await;
            };
            match options.workers {
                0 => mesh.run_workers(closed).await.map_err(HostError::from),
                _ => crew::keep(&options, gateway, &progress, closed).await.map_err(HostError::from),
            }
        }
    });
    let bar = bar(orders.len(), options.quiet);
    let operator = Operator::new(shop.clone(), mesh.clone());
    let people = async {
        tokio::select! {
            stopped = review(&mesh, "ada") => stopped.map_err(HostError::from),
            stopped = review(&mesh, "grace") => stopped.map_err(HostError::from),
            stopped = operator.work() => stopped.map_err(HostError::from),
        }
    };
    let work = async {
        let intake = take_in(&shop, &mesh, &orders).await?;
        if options.scenario.has_a_night() {
            let_a_night_fall(&shop, &mesh).await?;
        }
        progress.until_nothing_is_under_way(&shop, &mesh, &bar, options.scenario.has_a_night()).await?;
        Ok::<_, HostError>(intake)
    };
    let intake = tokio::select! {
        intake = work => Some(intake),
        stopped = people => return Err(match stopped {
            Err(error) => error,
            Ok(never) => match never {},
        }),
        () = stop => None,
        ended = &mut workers => return Err(ended?.err().unwrap_or(HostError::WorkersEnded)),
    };
    bar.finish_and_clear();
    closing.cancel(CancelReason::ShuttingDown);
    workers.await??;

    let Some(intake) = intake.transpose()? else { return Ok(Ending::Interrupted) };
    let summary =
        Box::new(Summary::of(Facts::gather(orders, &shop, &mesh, &journal, options.scenario.has_a_night()).await?));
    let (completed, failed) = progress.attempts();
    Ok(Ending::Done { journey: Journey { intake, completed, failed, reasons: operator.reasons() }, summary })
}

/// Creates the runtime of a process that works on the shop's orders.
///
/// # Errors
/// Returns a [`HostError`] that names the part that failed.
pub fn open_mesh(
    options: &Options,
    executor: Arc<dyn Executor>,
    shop: &Shop,
    gateway: Arc<HttpGateway>,
    progress: &Progress,
) -> Result<Squidmesh, HostError> {
    let slot = MeshSlot::default();
    let mesh = Squidmesh::builder(shop.store().clone())
        .executor(executor)
        .workflow(checkout(shop, gateway, slot.clone())?)
        .workflow(fulfilment()?)
        .workflow(settlement(shop)?)
        .event_sink(progress.clone())
        .configure(|config| {
            if let Some(lease) = options.lease {
                (config.lease, config.heartbeat) = (lease, lease / 3);
            }
        })
        .build()?;
    slot.fill(mesh.clone());
    Ok(mesh)
}

/// Returns the orders of the named file, or of the scenario, which are written to a file the first time.
fn read_orders(options: &Options) -> Result<Vec<Order>, OrdersError> {
    let read = |path: &Path| orders::read(path);
    if let Some(path) = &options.orders {
        return read(path);
    }
    let path = options.files().join("orders.jsonl");
    if !path.exists() {
        orders::write(&path, &options.scenario.orders(SAMPLE))?;
    }
    read(&path)
}

/// Why the shop did not open, or closed early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file or directory failed.
    #[error("the files of the example could not be opened: name another directory with --files")]
    Files(#[source] io::Error),
    /// The file of orders could not be read or written.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// The database could not be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The shop's tables could not be opened.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The shop's account could not be read.
    #[error("the shop's account at the gateway could not be read")]
    Account(#[from] DbErr),
    /// The client of the gateway could not be created.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A workflow's definition is invalid.
    #[error(transparent)]
    Definition(#[from] DefinitionErrors),
    /// The runtime's settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An order was not taken in.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The night could not be simulated.
    #[error(transparent)]
    Night(#[from] NightError),
    /// The progress could not be followed.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// The reviewers failed.
    #[error(transparent)]
    Review(#[from] RunsError),
    /// The operator failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The requested executor is not available.
    #[error(transparent)]
    Choice(#[from] ExecutorChoice),
    /// The workers failed.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The worker processes failed.
    #[error(transparent)]
    Crew(#[from] CrewError),
    /// The workers' task panicked.
    #[error("the workers panicked")]
    WorkersPanicked(#[from] JoinError),
    /// The workers ended without being asked to.
    #[error("the workers ended before the work did")]
    WorkersEnded,
    /// The facts for the summary could not be gathered.
    #[error(transparent)]
    Facts(#[from] FactsError),
}
