//! A proxy to a server, which disturbs connections: it cuts them at the worst moment, silences them without closing
//! them, and delays them.
//!
//! An answer is cut exactly when the server has committed a change and acknowledges it: the acknowledgement is read
//! here and never forwarded.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wire::{Answers, Change, Requests};

/// The disturbances to come, and those that have happened.
#[derive(Debug)]
pub(crate) struct Weather {
    /// The additional latency, in milliseconds.
    pub(crate) latency: AtomicU64,
    /// How long a silent connection is silent before it is closed, in milliseconds.
    pub(crate) silence: AtomicU64,
    /// The number of times that all connections were silenced: those made before the last time are silent for ever.
    hushed: AtomicU64,
    wanted: Mutex<Vec<Wanted>>,
    partition: watch::Sender<u64>,
    pub(crate) cut: Cut,
}

/// A disturbance of the next connection that offers the occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The connection is cut when such a change is committed and before the client knows.
    Answer(Change),
    /// The connection is cut before a change arrives.
    Request,
    /// The connection falls silent during a change.
    Silence,
}

/// The number of cut connections.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) waves: AtomicU32,
    pub(crate) commits: AtomicU32,
    pub(crate) others: AtomicU32,
    pub(crate) requests: AtomicU32,
    pub(crate) silent: AtomicU32,
}

impl Weather {
    fn calm() -> Self {
        Weather {
            latency: AtomicU64::new(0),
            silence: AtomicU64::new(0),
            hushed: AtomicU64::new(0),
            wanted: Mutex::default(),
            partition: watch::Sender::new(0),
            cut: Cut::default(),
        }
    }

    /// Requests a disturbance at the next occasion.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        // Requests without an occasion do not pile up.
        if list.len() < 8 {
            list.push(wanted);
        }
    }

    /// Ends all disturbances.
    pub(crate) fn clear_up(&self) {
        self.latency.store(0, Ordering::SeqCst);
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Cuts every open connection.
    pub(crate) fn cut_all(&self) {
        self.partition.send_modify(|count| *count += 1);
    }

    /// Silences all open connections without closing them. New ones work.
    pub(crate) fn hush_all(&self) {
        self.hushed.fetch_add(1, Ordering::SeqCst);
    }

    fn takes(&self, which: Wanted) -> bool {
        let mut list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let place = list.iter().position(|wanted| *wanted == which);
        place.map(|place| list.remove(place)).is_some()
    }

    async fn delay(&self) {
        let latency = self.latency.load(Ordering::Relaxed);
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
    }
}

/// A port that leads to a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) weather: Arc<Weather>,
    target: u16,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Returns the port of the server itself.
    pub(crate) fn target(&self) -> u16 {
        self.target
    }

    /// Creates a proxy to a Postgres, whose protocol is followed.
    pub(crate) async fn to_postgres(port: u16) -> io::Result<Self> {
        Proxy::to(port, true).await
    }

    /// Creates a proxy to any server.
    pub(crate) async fn to_anything(port: u16) -> io::Result<Self> {
        Proxy::to(port, false).await
    }

    async fn to(target: u16, followed: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let weather = Arc::new(Weather::calm());
        let serving = tokio::spawn(serve(listener, target, followed, weather.clone()));
        Ok(Proxy { port, weather, target, serving })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        self.weather.cut_all();
    }
}

async fn serve(listener: TcpListener, target: u16, followed: bool, weather: Arc<Weather>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let weather = weather.clone();
        tokio::spawn(async move {
            let mut partition = weather.partition.subscribe();
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let (open, silent) = (Mutex::default(), AtomicBool::new(false));
            let born = weather.hushed.load(Ordering::SeqCst);
            let connection = Connection { followed, weather: &weather, open: &open, silent: &silent, born };
            tokio::select! {
                _ = connection.up(from_client, to_server) => {}
                _ = connection.down(from_server, to_client) => {}
                _ = partition.changed() => {}
            }
        });
    }
}

/// One connection. `open` holds its unanswered requests.
struct Connection<'a> {
    followed: bool,
    weather: &'a Weather,
    open: &'a Mutex<VecDeque<Option<Change>>>,
    /// Whether this connection was silenced alone.
    silent: &'a AtomicBool,
    /// The number of times that all connections had been silenced when it was made.
    born: u64,
}

impl Connection<'_> {
    /// Returns whether all bytes are swallowed. Both sides stay open: the end of one would reveal the silence to the
    /// other.
    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst) || self.weather.hushed.load(Ordering::SeqCst) != self.born
    }

    /// Forwards the client's requests.
    async fn up(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> io::Result<()> {
        let mut requests = Requests::default();
        let mut buffer = vec![0; 16 * 1_024];
        loop {
            let count = client.read(&mut buffer).await?;
            if self.is_silent() {
                // The end of a client is not forwarded to the server.
                if count == 0 {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if count == 0 {
                return Ok(());
            }
            self.weather.delay().await;
            let ended = if self.followed { requests.feed(&buffer[..count]) } else { Vec::new() };
            let changes = ended.iter().any(Option::is_some);
            self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
            if changes && self.weather.takes(Wanted::Request) {
                self.weather.cut.requests.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            let silent = changes && self.weather.takes(Wanted::Silence);
            self.silent.store(silent, Ordering::SeqCst);
            // Every other request arrives, and its answer does not.
            if !silent || self.weather.cut.silent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                server.write_all(&buffer[..count]).await?;
            }
            if silent {
                tokio::time::sleep(Duration::from_millis(self.weather.silence.load(Ordering::Relaxed))).await;
                return Ok(());
            }
        }
    }

    /// Forwards the server's answers.
    async fn down(&self, mut server: OwnedReadHalf, mut client: OwnedWriteHalf) -> io::Result<()> {
        let mut answers = Answers::default();
        let mut buffer = vec![0; 16 * 1_024];
        let mut held = Vec::new();
        loop {
            let count = server.read(&mut buffer).await?;
            if self.is_silent() {
                if count == 0 {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if count == 0 {
                return client.write_all(&held).await;
            }
            self.weather.delay().await;
            held.extend_from_slice(&buffer[..count]);
            if self.followed {
                for answered in answers.feed(&buffer[..count]) {
                    let change = self.open.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten();
                    if let Some(change) = change.filter(|_| answered.committed)
                        && self.weather.takes(Wanted::Answer(change))
                    {
                        let counter = match change {
                            Change::Wave => &self.weather.cut.waves,
                            Change::Commit => &self.weather.cut.commits,
                            Change::Other => &self.weather.cut.others,
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                }
                // No part of the answer to a change is forwarded before all of it has arrived.
                let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                if open.front().is_some_and(Option::is_some) {
                    continue;
                }
            }
            client.write_all(&held).await?;
            held.clear();
        }
    }
}
