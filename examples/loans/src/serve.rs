//! The running service: the server and the workers, in one process, stopped by one signal.

use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::app::App;
use crate::apply::apply;
use crate::decide::{approve, reject};
use crate::shutdown::Shutdown;
use crate::view::{show, why};

/// Returns the routes of the service.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/loans", post(apply))
        .route("/loans/{loan_id}", get(show))
        .route("/loans/{loan_id}/why", get(why))
        .route("/loans/{loan_id}/approve", post(approve))
        .route("/loans/{loan_id}/reject", post(reject))
        .with_state(app)
}

/// Serves requests and executes steps until the shutdown begins. Then the server answers the requests that it has
/// accepted, and the workers finish the steps that run; everything else stays in the database for the next process.
///
/// # Errors
/// Returns the error of the server or of the workers. If one of them fails, the other stops as well.
pub async fn serve(app: App, listener: TcpListener, shutdown: Shutdown) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mesh = app.mesh.clone();
    let server = async {
        let served = axum::serve(listener, router(app)).with_graceful_shutdown(shutdown.begun()).await;
        shutdown.begin();
        served
    };
    let workers = async {
        let worked = mesh.run_workers(shutdown.begun()).await;
        shutdown.begin();
        worked
    };
    let (served, worked) = tokio::join!(server, workers);
    served?;
    worked?;
    Ok(())
}
