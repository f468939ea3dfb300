//! Checks at startup whether the server permits every command that the executor needs, and logs those that it
//! rejects.
//!
//! An access list may be too narrow, or a server too old. The executor runs regardless: a rejected command is
//! still tried, and logged when it fails, and works once it is granted.

use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::workflow::Cancellation;
use tokio::time::sleep;
use uuid::Uuid;

use crate::connection::{Connection, is_command_error};
use crate::entry::{list, text};
use crate::keys::{GROUP, Keys};
use crate::script::PROBE;

/// The pause after the server could not be reached, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Checks once, as soon as the server can be reached.
pub(crate) async fn probe(connection: Arc<Connection>, keys: Keys, shutdown: Cancellation) {
    let mut pause = RETRY_DELAYS.0;
    while !shutdown.is_cancelled() {
        match refused(&connection, &keys).await {
            Ok(refused) => return report(&refused),
            Err(error) if is_command_error(&error) => {
                let cause = error.detail();
                tracing::error!(target: "squidmesh", code = error.code(), cause, "Redis refuses to run scripts (EVAL, EVALSHA): no work is announced or read until its access list allows them");
                return;
            }
            // The connection logs that the server cannot be reached.
            Err(_) => {
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = shutdown.cancelled() => {}
                }
                pause = pause.saturating_mul(2).min(RETRY_DELAYS.1);
            }
        }
    }
}

/// Returns the commands that the server rejects, with the reasons.
pub(crate) async fn refused(connection: &Connection, keys: &Keys) -> redis::RedisResult<Vec<(String, String)>> {
    let id = Uuid::new_v4();
    let call = PROBE.on(["stream", "hash", "set", "text"].map(|what| keys.probe(what, id))).arg(GROUP);
    let words: Vec<String> = list(connection.call(&call).await?).iter().filter_map(text).collect();
    let pairs = words.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())));
    let mut refused: Vec<(String, String)> = pairs.collect();
    refused.dedup_by(|one, other| one.0 == other.0);
    Ok(refused)
}

fn report(refused: &[(String, String)]) {
    let Some((_, cause)) = refused.first() else { return };
    let commands = refused.iter().map(|(command, _)| command.as_str()).collect::<Vec<_>>().join(", ");
    tracing::error!(target: "squidmesh", commands, cause, "Redis refuses commands that this executor needs: allow them in its access list, or use Redis 7 or newer; until then work may wait for sweeps");
}
