//! A Redis server of one test, which the test may kill as a power failure would, and start again empty.
//!
//! The server is kept by a shell in its own session that waits for a pipe of this process to close: however the test
//! ends, its server and the directory are removed with it.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult};

/// The time within which a server must answer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// `$@` are the server's options, `$SETTINGS` the lines of its settings file. `$SQUIDMESH_REDIS_SERVER` may name
/// another program, such as `valkey-server`. The server is killed, never asked to stop: its data is lost.
const GUARDIAN: &str = r#"
exec 3<&0 </dev/null
directory=$(mktemp -d) || exit 1
printf '%s\n' "$SETTINGS" >"$directory/settings" || exit 1
"${SQUIDMESH_REDIS_SERVER:-redis-server}" "$directory/settings" "$@" --dir "$directory" >"$directory/log" 2>&1 3<&- &
server=$!
cat <&3 >/dev/null &
watcher=$!
finish() {
  kill -KILL "$server" "$watcher" 2>/dev/null
  wait "$server" "$watcher" 2>/dev/null
  rm -rf -- "$directory"
}
trap finish EXIT
wait -n "$server" "$watcher"
"#;

/// The address of a server, whether it is running or not.
#[derive(Clone, Copy, Debug)]
pub struct RedisAddress {
    port: u16,
}

impl RedisAddress {
    /// Creates the address of a port of the loopback interface.
    pub fn new(port: u16) -> Self {
        RedisAddress { port }
    }

    /// Returns the URL, for an executor.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Opens a separate connection, for assertions and mischief.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // The default timeouts are for servers with little to do; mischief takes longer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(Duration::from_secs(60)));
        Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Returns the answer to one command, over a fresh connection, which earlier accidents of the server cannot
    /// affect.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connect().await?).await
    }

    /// Removes all data.
    pub async fn flush(&self) {
        self.ask::<()>(&redis::cmd("FLUSHALL")).await.expect("the server answers");
    }
}

/// A running server, in memory only, on its own port.
#[derive(Debug)]
pub struct RedisServer {
    address: RedisAddress,
    settings: String,
    life: Option<Life>,
}

impl Deref for RedisServer {
    type Target = RedisAddress;

    fn deref(&self) -> &RedisAddress {
        &self.address
    }
}

impl RedisServer {
    /// Starts an empty server.
    pub async fn start() -> Self {
        RedisServer::with_settings("").await
    }

    /// Starts a server that replicates another.
    pub async fn replica_of(primary: &RedisServer) -> Self {
        let replica = RedisServer::with_settings(&format!("replicaof 127.0.0.1 {}", primary.port())).await;
        replica.follows().await;
        replica
    }

    /// Starts a sentinel that watches a primary under a name, and waits until it knows the replica. It decides alone,
    /// and soon.
    pub async fn sentinel_of(primary: &RedisServer, name: &str) -> Self {
        let settings = format!(
            "sentinel monitor {name} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {name} 700\n\
             sentinel failover-timeout {name} 2000",
            primary.port()
        );
        let sentinel = RedisServer::with_settings(&settings).await;
        let begun = Instant::now();
        loop {
            let known: Vec<redis::Value> =
                sentinel.ask(redis::cmd("SENTINEL").arg("REPLICAS").arg(name)).await.expect("the sentinel answers");
            if !known.is_empty() {
                return sentinel;
            }
            assert!(begun.elapsed() < READY_WITHIN, "the sentinel finds no replica");
            // It queries a primary every ten seconds, and a newly monitored one at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a replica has everything that its primary has.
    pub async fn follows(&self) {
        let begun = Instant::now();
        loop {
            let said: String = self.ask(redis::cmd("INFO").arg("replication")).await.expect("the replica answers");
            if said.contains("master_link_status:up") {
                return;
            }
            assert!(begun.elapsed() < READY_WITHIN, "the replica does not follow: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a server with these lines in its settings file.
    pub async fn with_settings(settings: &str) -> Self {
        // Another process may take the port between the check and the start.
        for _ in 0..5 {
            let (address, settings) = (RedisAddress::new(free_port()), settings.to_owned());
            let mut server = RedisServer { address, settings, life: None };
            if server.try_to_start().await {
                return server;
            }
        }
        panic!("no Redis server starts: is `redis-server` installed? `cargo xtask test` installs it");
    }

    /// Kills the server as a power failure would. Nothing is saved.
    pub fn kill(&mut self) {
        self.life = None;
    }

    /// Starts the server again after [`kill`](RedisServer::kill), on the same port and empty.
    pub async fn restart(&mut self) {
        assert!(self.try_to_start().await, "Redis does not start again on port {}", self.port());
    }

    async fn try_to_start(&mut self) -> bool {
        let mut life = Life::begin(self.port(), &self.settings);
        let begun = Instant::now();
        while !life.has_ended() && begun.elapsed() < READY_WITHIN {
            if self.ask::<String>(&redis::cmd("PING")).await.is_ok() && !life.has_ended() {
                self.life = Some(life);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// Returns a port that no process listens on at present.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// One life of a server process.
#[derive(Debug)]
struct Life {
    guardian: Child,
}

impl Life {
    fn begin(port: u16, settings: &str) -> Self {
        let sentinel = settings.starts_with("sentinel").then_some("--sentinel");
        let guardian = Command::new("setsid")
            .args(["bash", "-c", GUARDIAN, "guardian", "--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"])
            .args(sentinel)
            .env("SETTINGS", settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Life { guardian: guardian.expect("bash and setsid are there") }
    }

    fn has_ended(&mut self) -> bool {
        self.guardian.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}
