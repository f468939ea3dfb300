//! One signal to stop, for everything that runs in the process.

use std::io;

use tokio::sync::watch;

/// The order to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Creates a shutdown that begins at Ctrl-C or SIGTERM. Must be called within a tokio runtime.
    pub fn on_signal() -> Self {
        let shutdown = Shutdown::default();
        let begin = shutdown.clone();
        tokio::spawn(async move {
            match signal().await {
                Ok(()) => tracing::info!("stopping at a signal"),
                Err(error) => tracing::error!(%error, "signals cannot be received: stopping"),
            }
            begin.begin();
        });
        shutdown
    }

    /// Begins the shutdown. Has no effect once it has begun.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Completes when the shutdown begins.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut begun = self.0.subscribe();
        async move {
            let _ = begun.wait_for(|begun| *begun).await;
        }
    }
}

#[cfg(unix)]
async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

#[cfg(not(unix))]
async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
