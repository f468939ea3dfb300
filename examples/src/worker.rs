//! A worker process of a shop: carries out what the shop starts, until the shop tells it to finish or is gone.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use squidmesh_store::SeaOrmStore;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::crew::FINISH;
use crate::executor::executor;
use crate::gateway::HttpGateway;
use crate::host::{HostError, open_mesh};
use crate::options::Options;
use crate::progress::Progress;
use crate::shop::Shop;

/// How often it tells the shop of its work.
const PAUSE: Duration = Duration::from_millis(200);

/// Works for the shop whose gateway is at this address.
///
/// # Errors
/// [`HostError`] names the part that failed.
pub async fn work(options: &Options, gateway: SocketAddr) -> Result<(), HostError> {
    let finish = told_to_finish();
    let executor = executor(options)?;
    let store = SeaOrmStore::connect(&options.store_url()).await?;
    let shop = Shop::open(store).await?;
    let progress = Progress::default();
    let mesh = open_mesh(options, executor, &shop, Arc::new(HttpGateway::at(gateway)?), &progress)?;
    let mut told = (0, 0);
    let telling = async {
        loop {
            sleep(PAUSE).await;
            tell(&progress, &mut told);
        }
    };
    tokio::select! {
        ended = mesh.run_workers(finish) => ended?,
        () = telling => {}
    }
    tell(&progress, &mut told);
    Ok(())
}

/// Completes when the shop says so. The process ends at once when the shop is gone: its gateway went with it.
fn told_to_finish() -> impl Future<Output = ()> {
    let (tell, told) = oneshot::channel();
    // A thread of its own: a runtime waits for its own threads to end, and reading standard input may never do.
    std::thread::spawn(move || {
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(_) if line.trim() == FINISH => drop(tell.send(())),
            _ => std::process::exit(1),
        }
    });
    // Ctrl-C at a terminal reaches every process there. The shop hears it too, and is the one to say what follows from it.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    async move {
        let _ = told.await;
    }
}

/// Tells what was done since it last told: `completed failed`.
fn tell(progress: &Progress, told: &mut (u64, u64)) {
    let now = progress.attempts();
    if now != *told {
        // A shop that is gone needs no count.
        let _ = writeln!(io::stdout(), "{} {}", now.0 - told.0, now.1 - told.1);
        *told = now;
    }
}
