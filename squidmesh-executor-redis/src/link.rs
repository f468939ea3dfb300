//! A connection that is made when it is needed, and made anew after anything went wrong.
//!
//! Whatever fails here fails at once, or within the time of an answer: callers decide whether and when to try again. Between
//! attempts to connect there is a pause that grows, so that a server that comes back is not met by a crowd.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::script::Call;
use crate::server::{Connection, Server};
use crate::signals::Signals;
use crate::trouble::Trouble;

/// The pause after the first attempt that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One connection of a process, or the intention to have it.
pub(crate) struct Link {
    server: Server,
    answer: Duration,
    slot: Mutex<Slot>,
    signals: Arc<Signals>,
    /// Of the one link of a process that tells of it: the others are to the same server.
    outage: Option<Trouble>,
}

#[derive(Default)]
struct Slot {
    open: Option<(Connection, Option<i64>)>,
    made: u64,
    failures: u32,
    retry_at: Option<Instant>,
}

/// Where a test can have the process die, or the call fail. Nothing of it is left without the feature `crash-points`.
#[cfg(feature = "crash-points")]
macro_rules! at {
    ($point:expr, $call:expr) => {
        squidmesh_core::crash_point::around($point, $call, |_| {
            RedisError::from((ErrorKind::Io, "a call that a test has fail"))
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

impl Link {
    /// A link that allows each answer so much time.
    pub(crate) fn new(server: Server, answer: Duration, signals: Arc<Signals>) -> Self {
        Link { server, answer, slot: Mutex::default(), signals, outage: None }
    }

    /// The same, which tells of outages of the server.
    pub(crate) fn telling(self) -> Self {
        Link { outage: Some(Trouble::with("reaching Redis")), ..self }
    }

    /// Sends a command.
    pub(crate) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let (mut connection, made) = self.connection().await?;
        let answer = at!("SEND", command.query_async(&mut connection));
        self.judge(made, answer).await
    }

    /// Runs a script, which the server may not have yet.
    pub(crate) async fn call(&self, call: &Call<'_>) -> RedisResult<Value> {
        let (mut connection, made) = self.connection().await?;
        let answer = at!(call.name(), async {
            match call.by_hash().query_async(&mut connection).await {
                Err(error) if is_unknown_script(&error) => call.whole().query_async(&mut connection).await,
                answer => answer,
            }
        });
        self.judge(made, answer).await
    }

    /// The number by which the server knows the connection, if it is open and has one.
    pub(crate) async fn id(&self) -> Option<i64> {
        self.slot.lock().await.open.as_ref().and_then(|(_, id)| *id)
    }

    async fn connection(&self) -> RedisResult<(Connection, u64)> {
        let mut slot = self.slot.lock().await;
        if let Some((connection, _)) = &slot.open {
            return Ok((connection.clone(), slot.made));
        }
        if slot.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(RedisError::from((ErrorKind::Io, "Redis cannot be reached; it is tried again shortly")));
        }
        match self.open().await {
            Ok((connection, id)) => {
                let made = slot.made + 1;
                *slot = Slot { open: Some((connection.clone(), id)), made, failures: 0, retry_at: None };
                Ok((connection, made))
            }
            Err(error) => {
                let pause = PAUSES.0.saturating_mul(1 << slot.failures.min(10)).min(PAUSES.1);
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = Some(Instant::now() + pause);
                self.signals.something_may_be_lost();
                self.failed(&error);
                Err(error)
            }
        }
    }

    async fn open(&self) -> RedisResult<(Connection, Option<i64>)> {
        let mut connection = self.server.connect(self.answer).await?;
        let id = if connection.has_id() {
            // An access list may forbid to ask.
            redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await.ok()
        } else {
            None
        };
        Ok((connection, id))
    }

    /// After an error that is not the command's own, the connection is not used again: it may be to a server that is gone, that
    /// has become a replica, or whose answers come too late.
    async fn judge(&self, made: u64, answer: RedisResult<Value>) -> RedisResult<Value> {
        match &answer {
            Err(error) if !is_the_commands_own(error) => {
                self.signals.something_may_be_lost();
                let mut slot = self.slot.lock().await;
                // All that were on their way fail with a connection: once is enough.
                if slot.made == made && slot.open.take().is_some() {
                    self.failed(error);
                }
            }
            // It answers: to connect is not enough, for a replica or a server that is starting refuses everything.
            _ => self.outage.iter().for_each(Trouble::worked),
        }
        answer
    }

    fn failed(&self, error: &RedisError) {
        self.outage.iter().for_each(|outage| outage.failed(error));
    }
}

/// Whether the server is well and only refused this command.
pub(crate) fn is_the_commands_own(error: &RedisError) -> bool {
    use redis::ServerErrorKind::{ExecAbort, NoPerm, NoScript, ResponseError};
    matches!(error.kind(), ErrorKind::Extension | ErrorKind::Server(ExecAbort | NoPerm | NoScript | ResponseError))
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript)
}
