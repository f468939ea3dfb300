//! The service as a program: `cargo run -p squidmesh-example-loans`. It prints what to try.
//!
//! `DATABASE_URL` and `LISTEN` change the database and the address, `RUST_LOG` the log, which is JSON on the standard
//! output.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use squidmesh_example_loans::bureau::DemoBureau;
use squidmesh_example_loans::{App, Shutdown, serve};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::{SeaOrmStore, redact_url};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = variable("DATABASE_URL", "sqlite://loans.db");

    let shutdown = Shutdown::on_signal();
    let store = SeaOrmStore::connect(&url).await?;
    let app = App::open(store, TokioExecutor::new(), Arc::new(DemoBureau)).await?;
    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    greet(listener.local_addr()?, &url);
    serve(app, listener, shutdown).await
}

/// Prints what to try, beside the log.
#[allow(clippy::print_stderr, reason = "for the person who tries the example")]
fn greet(address: SocketAddr, url: &str) {
    let url = redact_url(url);
    eprintln!(
        r#"loans: listening on http://{address}, with the database {url}; Ctrl-C stops. Try:

  curl -s http://{address}/loans --json '{{"loan_id":"L-1","customer":"Ada","amount_cents":250000}}'
  curl -s http://{address}/loans/L-1
  curl -s http://{address}/loans/L-1/why -H 'x-user: grace'
  curl -s http://{address}/loans/L-1/approve -H 'x-user: grace' -X POST
"#
    );
}
