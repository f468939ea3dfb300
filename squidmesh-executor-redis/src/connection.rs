//! A connection that is opened on first use, and reopened after a failure.
//!
//! Every call to Redis passes here and has a deadline: it fails at once, or when the answer takes too long, after
//! which the connection is closed and reopened. Callers decide whether and when to retry. The pause between
//! attempts to connect grows, so that a returning server is not overwhelmed.
//!
//! Hand-written beside `redis`' own `ConnectionManager`, which knows one server, no sentinels and no cluster. That one
//! keeps a connection whose answers time out, or whose server has become a replica; lets commands wait while it
//! reconnects; and reports neither a lost connection, after which announcements are repeated, nor an outage.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::outage_log::OutageLog;
use crate::script::Call;
use crate::server::{RawConnection, Server};
use crate::sweep_triggers::SweepTriggers;

/// The pause after the first failed attempt, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One connection of a process, which may not be open yet.
pub(crate) struct Connection {
    server: Server,
    answer: Duration,
    slot: Mutex<Slot>,
    triggers: Arc<SweepTriggers>,
    /// Set for the one connection of a process that logs outages: the others use the same server.
    outage: Option<OutageLog>,
}

#[derive(Default)]
struct Slot {
    open: Option<(RawConnection, Option<i64>)>,
    generation: u64,
    failures: u32,
    retry_at: Option<Instant>,
}

/// Where a test can crash the process, or fail the call. Compiled out without the feature `crash-points`.
#[cfg(feature = "crash-points")]
macro_rules! at {
    ($point:expr, $call:expr) => {
        squidmesh_core::crash_point::around($point, $call, |_| {
            RedisError::from((ErrorKind::Io, "a test makes this call fail"))
        })
        .await
    };
}

#[cfg(not(feature = "crash-points"))]
macro_rules! at {
    ($point:expr, $call:expr) => {
        $call.await
    };
}

impl Connection {
    /// Creates a connection with a time limit for each answer.
    pub(crate) fn new(server: Server, answer: Duration, triggers: Arc<SweepTriggers>) -> Self {
        Connection { server, answer, slot: Mutex::default(), triggers, outage: None }
    }

    /// Makes the connection log outages of the server.
    pub(crate) fn logging_outages(self) -> Self {
        Connection { outage: Some(OutageLog::new("reaching Redis")), ..self }
    }

    /// Sends a command.
    pub(crate) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        self.send_within(command, self.answer).await
    }

    /// Sends a command that blocks on the server, with a time limit for its answer.
    pub(crate) async fn send_within(&self, command: &Cmd, answer: Duration) -> RedisResult<Value> {
        let (mut connection, generation) = self.connection().await?;
        let answer = at!("SEND", within(answer, command.query_async(&mut connection)));
        self.checked(generation, answer).await
    }

    /// Runs a script, which the server may not have yet.
    pub(crate) async fn call(&self, call: &Call<'_>) -> RedisResult<Value> {
        let (mut connection, generation) = self.connection().await?;
        let answer = at!(
            call.name(),
            within(self.answer, async {
                match call.by_hash().query_async(&mut connection).await {
                    Err(error) if is_unknown_script(&error) => call.whole().query_async(&mut connection).await,
                    answer => answer,
                }
            })
        );
        self.checked(generation, answer).await
    }

    /// Returns the server's id of the connection, if it is open and has one.
    pub(crate) async fn id(&self) -> Option<i64> {
        self.slot.lock().await.open.as_ref().and_then(|(_, id)| *id)
    }

    async fn connection(&self) -> RedisResult<(RawConnection, u64)> {
        let mut slot = self.slot.lock().await;
        if let Some((connection, _)) = &slot.open {
            return Ok((connection.clone(), slot.generation));
        }
        if slot.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(RedisError::from((ErrorKind::Io, "Redis cannot be reached; retrying shortly")));
        }
        match within(self.server.connect_timeout(), self.open()).await {
            Ok((connection, id)) => {
                let generation = slot.generation + 1;
                *slot = Slot { open: Some((connection.clone(), id)), generation, failures: 0, retry_at: None };
                Ok((connection, generation))
            }
            Err(error) => {
                let pause = RETRY_DELAYS.0.saturating_mul(1 << slot.failures.min(10)).min(RETRY_DELAYS.1);
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = Some(Instant::now() + pause);
                self.triggers.announcements_may_be_lost();
                self.failed(&error);
                Err(error)
            }
        }
    }

    async fn open(&self) -> RedisResult<(RawConnection, Option<i64>)> {
        let mut connection = self.server.connect(self.answer).await?;
        let id = if connection.has_id() {
            // An access list may forbid the command.
            redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await.ok()
        } else {
            None
        };
        Ok((connection, id))
    }

    /// Drops the connection after an error that is not the command's own: its server may be gone, may have become
    /// a replica, or may answer too late.
    async fn checked(&self, generation: u64, answer: RedisResult<Value>) -> RedisResult<Value> {
        match &answer {
            Err(error) if !is_command_error(error) => {
                self.triggers.announcements_may_be_lost();
                let mut slot = self.slot.lock().await;
                // All pending calls fail with their connection: once is enough.
                if slot.generation == generation && slot.open.take().is_some() {
                    self.failed(error);
                }
            }
            // An answer counts, a connection does not: a replica or a server that is starting accepts connections
            // but rejects every command.
            _ => self.outage.iter().for_each(OutageLog::succeeded),
        }
        answer
    }

    fn failed(&self, error: &RedisError) {
        self.outage.iter().for_each(|outage| outage.failed(error));
    }
}

/// Returns an answer that arrives in time, or the error of a server that does not answer.
async fn within<T>(time: Duration, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(time, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// Returns whether the server works and only rejected this command.
pub(crate) fn is_command_error(error: &RedisError) -> bool {
    use redis::ServerErrorKind::{ExecAbort, NoPerm, NoScript, ResponseError};
    matches!(error.kind(), ErrorKind::Extension | ErrorKind::Server(ExecAbort | NoPerm | NoScript | ResponseError))
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript)
}
