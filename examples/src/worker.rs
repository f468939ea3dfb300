//! A worker process of a shop: executes what the shop starts, until the shop asks it to finish or is gone.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::crew::FINISH;
use crate::database;
use crate::executor::executor;
use crate::gateway::HttpGateway;
use crate::host::{HostError, open_mesh};
use crate::options::Options;
use crate::progress::Progress;
use crate::shop::Shop;

/// The interval at which it reports its work to the shop.
const PAUSE: Duration = Duration::from_millis(200);

/// Works for the shop whose gateway is at this address.
///
/// # Errors
/// Returns a [`HostError`] that names the part that failed.
pub async fn work(options: &Options, gateway: SocketAddr) -> Result<(), HostError> {
    let finish = finish_requested();
    let executor = executor(options)?;
    let shop = Shop::open(database::open(options).await?).await?;
    let progress = Progress::default();
    let mesh = open_mesh(options, executor, &shop, Arc::new(HttpGateway::at(gateway)?), &progress)?;
    let mut reported = (0, 0);
    let reporting = async {
        loop {
            sleep(PAUSE).await;
            report(&progress, &mut reported);
        }
    };
    tokio::select! {
        ended = mesh.run_workers(finish) => ended?,
        () = reporting => {}
    }
    report(&progress, &mut reported);
    Ok(())
}

/// Completes when the shop asks the worker to finish. The process exits at once when the shop is gone: its gateway
/// went with it.
fn finish_requested() -> impl Future<Output = ()> {
    let (request, requested) = oneshot::channel();
    // A separate thread: a runtime waits for its own threads to end, and reading standard input may never return.
    std::thread::spawn(move || {
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(_) if line.trim() == FINISH => drop(request.send(())),
            _ => std::process::exit(1),
        }
    });
    // Ctrl-C at a terminal reaches every process there. The shop receives it too, and decides what follows.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    async move {
        let _ = requested.await;
    }
}

/// Reports the counts since the last report: `completed failed`.
fn report(progress: &Progress, reported: &mut (u64, u64)) {
    let now = progress.attempts();
    if now != *reported {
        // A shop that is gone needs no count.
        let _ = writeln!(io::stdout(), "{} {}", now.0 - reported.0, now.1 - reported.1);
        *reported = now;
    }
}
